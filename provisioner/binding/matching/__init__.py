"""Match claims to volumes as Kubernetes does, from an index."""
