"""A worker process: its Celery tasks, its start and its end."""
