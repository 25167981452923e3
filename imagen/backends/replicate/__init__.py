"""Replicate: images drawn in the cloud, each paid for once."""

from imagen.backends.replicate.backend import adapter

__all__ = ["adapter"]
