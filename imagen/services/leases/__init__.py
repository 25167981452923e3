"""Which process holds which jobs, and what becomes of the jobs of a dead one."""
