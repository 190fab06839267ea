"""Decide whether a claim adopts its former volume, alone and together with its siblings."""
