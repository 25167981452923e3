"""``imagen jobs``: what became of accepted jobs, and telling them what to do next."""
