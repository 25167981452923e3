"""Configuration in, wired parts out: the only package that knows which part goes where."""
