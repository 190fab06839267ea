"""The controller of a real cluster: elected by a Lease, it reaches the drivers over mutual TLS."""
