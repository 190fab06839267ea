"""The API server of the engine: Kubernetes' object semantics over SQLite, and its HTTP API."""
