"""From an uploaded archive to arrays that a trainer maps into memory. Nothing here needs torch."""
