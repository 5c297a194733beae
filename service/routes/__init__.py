"""The routes, one file per first path segment."""
