"""The gRPC services: check the request, call the volume manager, map errors to gRPC codes."""
