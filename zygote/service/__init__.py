"""A unit per worker: systemd itself starts, limits, watches and restarts each, over shared pages.

`serve` is the zygote's own unit, `exec` what a worker's unit starts; see `docs/systemd.md`.
"""
