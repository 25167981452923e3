"""Replicate's HTTP API: calls, answers, downloads."""
