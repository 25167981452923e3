"""How PNG, JPEG and WebP files are put together, read without decoding a pixel."""
