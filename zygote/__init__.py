"""A copy-on-write fork server and process manager for fleets of Python processes."""

__version__ = "0.1.0"
