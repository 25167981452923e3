"""Runs the services in one process: threads that draw, deliver and send, without a broker."""
