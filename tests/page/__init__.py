"""The page in a real browser: what it asks, shows and refuses."""
