"""The command line program `mooring`."""
