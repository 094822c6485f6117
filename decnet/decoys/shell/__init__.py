"""A small Unix shell that is none: it parses, answers plausibly, and touches nothing real."""
