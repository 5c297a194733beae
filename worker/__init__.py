"""Celery workers: train, prepare and sample under one record, one lease and one supervisor."""
