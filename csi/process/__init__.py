"""The driver's process: flags, keys, sockets, the gRPC server, and registration with kubelet."""
