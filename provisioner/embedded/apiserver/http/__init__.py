"""The HTTP face of the embedded engine: the store, spoken to as one speaks to a Kubernetes API server."""
