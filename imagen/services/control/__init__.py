"""What people tell accepted jobs and backends: cancel, retry, resume, wait, pause."""
