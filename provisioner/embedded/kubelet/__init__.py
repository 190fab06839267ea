"""What kubelet does in a cluster: mount the volumes of this node's pods, and report their status."""
