"""What a file and the environment settle: keys, ranges, and complaints with line numbers."""
