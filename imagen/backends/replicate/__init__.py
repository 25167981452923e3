"""Replicate: images drawn in the cloud, each paid for once."""

from imagen.backends.replicate.adapter import adapter

__all__ = ["adapter"]
