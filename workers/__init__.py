"""What one kind of host starts: queues, pool and concurrency; no behaviour."""
