"""What an administrator's commands do: import a volume, recover PersistentVolumes."""
