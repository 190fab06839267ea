"""The driver's only access to the machine: commands, mounts, loop devices, files."""
