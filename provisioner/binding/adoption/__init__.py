"""Decide whether a claim gets its former volume back, alone and together with its siblings."""
