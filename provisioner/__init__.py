"""The control plane: observes claims and volumes, decides purely, acts through the API and CSI."""
