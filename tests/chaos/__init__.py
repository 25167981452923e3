"""Scenarios in which workers and servers die, and audits of what is left after them."""
