"""Bait that calls home: files with a token in them, and who hears the call."""
