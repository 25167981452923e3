"""Pauses, cancels and retries: what users ask of accepted jobs and of backends."""
