"""Volumes of the driver: pools, manifests, the ledger of reserved bytes, the trash."""
