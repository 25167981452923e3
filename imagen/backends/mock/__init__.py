"""The mock backend: draws landscapes without a model, and fails on request."""

from imagen.backends.mock.backend import adapter

__all__ = ["adapter"]
