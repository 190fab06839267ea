"""Field ownership: managedFields, and server-side apply, which depends on them."""
