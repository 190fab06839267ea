"""Observe: build the facts for decisions from caches and drivers, and map events to work queue keys."""
