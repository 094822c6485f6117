"""Rows for other tools."""
