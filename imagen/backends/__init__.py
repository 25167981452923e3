"""Adapters: each draws requests on one kind of server."""
