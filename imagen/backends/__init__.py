"""Adapters: each turns a request into an image at one kind of server."""
