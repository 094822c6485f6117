"""The REST interface under /api/v1: health, logs, attackers, login, and a live stream of events."""
