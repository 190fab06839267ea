"""The engine's kubelet: mounts the volumes of this node's pods, and reports their status."""
