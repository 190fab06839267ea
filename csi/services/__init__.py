"""The gRPC services: check the request, call the engine, map the error."""
