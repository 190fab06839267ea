"""The controller of a Kubernetes cluster: elected by a Lease, it connects to the drivers over mutual TLS."""
