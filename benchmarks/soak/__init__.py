"""Whether a server lasts."""
