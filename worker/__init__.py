"""Celery workers: train jobs, prepare datasets and render samples."""
