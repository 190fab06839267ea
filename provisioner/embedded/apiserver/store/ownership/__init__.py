"""Who wrote which field: managedFields, and the server-side apply that is decided by them."""
