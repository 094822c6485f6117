"""The routes, a file a domain; each has a `router`."""
