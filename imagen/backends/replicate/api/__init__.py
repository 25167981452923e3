"""Replicate's HTTP API: calls, their limits, and what its answers mean."""
