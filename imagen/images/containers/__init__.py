"""The structure of PNG, JPEG and WebP files, read without decoding a pixel."""
