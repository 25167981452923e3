"""What imagen does, one use a file; no module here knows Celery, the command line or the config."""
