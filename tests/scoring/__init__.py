"""Scoring files, whatever their format, place and fate."""
