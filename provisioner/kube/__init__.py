"""Clients of an API server: requests, caches, reflectors, queues, leader election. Nothing else speaks HTTP to one."""
