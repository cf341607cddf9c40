"""Attacks on a real server, each as code: it refuses, says why, and goes on answering others."""
