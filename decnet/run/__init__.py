"""The main job: `make run`, and `make run PROBE=1`. Client programs; no worker imports this."""
