"""What browsers talk to: the dashboard's files, and a proxy to the REST interface."""
