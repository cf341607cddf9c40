"""A real server over HTTP: its answers, its refusals, its life."""
