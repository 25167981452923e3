"""What an image says about itself, in its own bytes, without touching a pixel."""

from imagen.output.metadata.embedding import Mode, embed
from imagen.output.metadata.reading import read

__all__ = ["Mode", "embed", "read"]
