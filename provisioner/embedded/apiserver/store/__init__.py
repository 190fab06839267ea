"""The object store of the embedded engine: Kubernetes' object semantics over one SQLite file."""
