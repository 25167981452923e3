"""The configuration: its keys and ranges, read from a file and the environment."""
