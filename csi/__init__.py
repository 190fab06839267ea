"""The CSI driver: knows volumes, and nothing of Kubernetes."""
