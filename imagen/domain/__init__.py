"""Frozen values and protocols: what a job is, with no I/O and no framework."""
