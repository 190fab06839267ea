"""The only door to the machine: commands, mounts, loop devices, files."""
