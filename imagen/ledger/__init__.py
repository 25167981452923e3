"""The database of record: every query of imagen stands in this package, and nowhere else."""
