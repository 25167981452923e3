"""Real worker processes for tests: an environment, and a fork server that starts them quickly."""
