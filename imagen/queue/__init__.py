"""The same jobs over processes and hosts: the only package that knows Celery and Redis."""
