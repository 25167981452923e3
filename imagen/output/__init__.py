"""Image files: their names and paths, their metadata, and how they are written safely."""
