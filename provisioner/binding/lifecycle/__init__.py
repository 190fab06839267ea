"""Decide what happens to a volume after it was bound: expansion, modification, loss of its node, recovery."""
