"""Following jobs on their way: waiting for their end, and what they do meanwhile."""
