"""The engine for one machine: an API server, the controllers of a cluster that storage needs, and the driver."""
