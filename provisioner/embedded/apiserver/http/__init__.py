"""The HTTP API of the embedded engine: the store behind the interface of a Kubernetes API server."""
