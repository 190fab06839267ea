"""Actions: the writes to the API server and the calls to drivers that reconcilers share."""
