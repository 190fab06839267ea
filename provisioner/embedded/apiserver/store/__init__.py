"""The object store of the embedded engine: Kubernetes' object semantics on one SQLite file."""
