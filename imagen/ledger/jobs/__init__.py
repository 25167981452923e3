"""Writes along a job's life: submit, claim, fenced writes, delivery, leases, control."""
