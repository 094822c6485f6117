"""Telling other systems what happens: what they subscribed to, signed, at least once."""
