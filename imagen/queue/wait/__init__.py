"""Waiting for jobs that workers draw."""
