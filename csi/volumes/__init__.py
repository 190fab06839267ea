"""The life of volumes: pools, manifests, the ledger of promises, the trash."""
