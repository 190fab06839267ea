"""One reconciler a file: observe from the caches, let `provisioner.binding` decide, act."""
