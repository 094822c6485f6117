"""The fleet file: its schema, its checker, and the plain model that the manager reads."""
