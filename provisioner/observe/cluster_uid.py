"""The identity of the cluster, from the caches."""

from provisioner.kube.cache import Caches
from provisioner.model.kinds import NAMESPACE

CLUSTER_NAMESPACE = "kube-system"
"""Its UID stands for the cluster's identity, as is the custom."""


def cluster_uid(caches: Caches) -> str:
    """The identity of the cluster; "" when it is not known."""
    namespace = caches[NAMESPACE].get(CLUSTER_NAMESPACE)
    return str(namespace["metadata"]["uid"]) if namespace else ""
