"""Scripted attackers with real connections, and the count of what became of their deeds."""
