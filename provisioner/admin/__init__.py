"""The work of an admin's commands: import a volume, recover PersistentVolumes, list and erase volumes on disks."""
