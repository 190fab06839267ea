"""The engine's API server: Kubernetes' object semantics on SQLite, and its HTTP API."""
