"""Observe: build what decisions are made of, from caches and drivers, and map events to work queue keys."""
