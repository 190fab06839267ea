"""Frozen views of API objects and the values in them. No I/O."""
