"""The routes, by first path segment; a long one has two files."""
