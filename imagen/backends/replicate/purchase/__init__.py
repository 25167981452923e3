"""One paid prediction: found or created once, followed, canceled, its image fetched."""
