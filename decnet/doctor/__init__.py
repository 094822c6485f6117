"""What is missing on this machine, for which worker, and the remedy. Nothing is changed."""
