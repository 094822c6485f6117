"""The schema's revision that this program needs: the last file in `migrations/versions`.

A constant, so that a worker checks its database without loading Alembic (38 MB).
"""

HEAD = "0006"
