"""The drivers: the client of one, and the registry of all that are reachable."""
