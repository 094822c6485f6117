"""What people and scripts see of the platform: the REST interface (and, later, the dashboard)."""
