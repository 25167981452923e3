"""``imagen jobs``: lists accepted jobs, waits for them, and cancels, resumes or retries them."""
