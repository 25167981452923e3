"""Metadata in an image's own bytes, written and read without touching a pixel."""

from imagen.output.metadata.embedding import Mode, embed, read

__all__ = ["Mode", "embed", "read"]
