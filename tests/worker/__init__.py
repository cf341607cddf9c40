"""A worker and a backend: coalescing, isolation, deadlines, retries."""
