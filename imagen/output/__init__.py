"""Image files: their names and places, what they say about themselves, and safe writing."""
