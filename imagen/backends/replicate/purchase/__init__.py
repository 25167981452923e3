"""One paid prediction: created once, followed, canceled."""
