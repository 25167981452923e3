"""Celery, kombu and Redis as imagen uses them: settings, connections, message format."""
