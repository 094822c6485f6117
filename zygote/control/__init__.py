"""The control socket's Varlink interface, shared by the manager and its clients."""
