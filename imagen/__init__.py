"""imagen draws images from prompts, one at a time or by the ten thousand, and loses none."""

__version__ = "0.1.0"
