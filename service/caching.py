"""HTTP caching (RFC 9111): what clients may cache."""

PINNED = "public, max-age=31536000, immutable"
"""`Cache-Control` of a URL whose response never changes."""
