"""Commands that draw, and ``imagen show``."""
