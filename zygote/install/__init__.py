"""A fleet as systemd units: written, checked, enabled and removed by `zygotectl install`."""
