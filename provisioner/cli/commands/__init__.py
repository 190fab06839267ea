"""The subcommands of `mooring`, one module each."""
