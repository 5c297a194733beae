"""From an uploaded archive to arrays that trainers map into memory. Does not need torch."""
