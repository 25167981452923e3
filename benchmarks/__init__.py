"""How fast imagen is, next to the least that could do the same; `make bench` runs all of it."""
