"""HTTP for every client of imagen: one request, one whole answer, within one deadline."""
