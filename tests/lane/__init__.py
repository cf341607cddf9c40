"""The short way into the service, and the long one beside it."""
