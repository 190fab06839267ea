"""The command `mooring`."""
