"""
Every name that users see: an API, frozen by a golden test.

Names under ``mooring.dev`` are Mooring's. The others are Kubernetes' own; where a rule belongs to a name, its source is
given.
"""

from typing import Final

DRIVER: Final = "csi.mooring.dev"
"""The name of the CSI driver, and the provisioner of Mooring's StorageClasses."""

DOMAIN: Final = "mooring.dev"
"""The prefix of Mooring's annotations, labels and finalizers."""

# Topology

NODE_TOPOLOGY: Final = "topology.mooring.dev/node"
"""The topology key that NodeGetInfo reports."""

POOL_LABEL_PREFIX: Final = "pool.mooring.dev/"
"""Node label ``pool.mooring.dev/<pool uuid>: present``: the disk's identity, in PV node affinity and
capacity objects."""

POOL_PRESENT: Final = "present"

TEMPLATE_NODE: Final = "cluster-autoscaler.kubernetes.io/template-node"
"""
The label that cluster-autoscaler sets on template nodes, which copy the labels of a real node but not its pools.

So node affinity and capacity objects require that it is absent. Source: cluster-autoscaler, simulator/node_info_utils.
"""

# Reserved CreateVolume parameters: the volume's owner. The driver stores them as opaque labels.

HOLDER_CLUSTER_UID: Final = "mooring.dev/cluster-uid"
HOLDER_NAMESPACE: Final = "mooring.dev/namespace"
HOLDER_NAMESPACE_UID: Final = "mooring.dev/namespace-uid"
HOLDER_CLAIM: Final = "mooring.dev/claim"
HOLDER_CLAIM_UID: Final = "mooring.dev/claim-uid"
HOLDER_STATEFUL_SET: Final = "mooring.dev/stateful-set"
HOLDER_TEMPLATE: Final = "mooring.dev/template"
HOLDER_ORDINAL: Final = "mooring.dev/ordinal"
HOLDER_RECLAIM_POLICY: Final = "mooring.dev/reclaim-policy"
"""The reclaim policy at creation, which applies when the claim is deleted before the PersistentVolume exists."""

HOLDER_CLASS: Final = "mooring.dev/storage-class"
"""The claim's StorageClass; with its access modes (below, comma-separated) needed to recreate a PersistentVolume."""

HOLDER_ACCESS_MODES: Final = "mooring.dev/access-modes"
HOLDER_ATTRIBUTES_CLASS: Final = "mooring.dev/attributes-class"
"""The VolumeAttributesClass in force; absent when there is none."""

# Annotations of Mooring on PersistentVolumes

NAMESPACE_UID: Final = "mooring.dev/namespace-uid"
"""The UID of the owner's namespace: a recreated namespace is another owner."""

STATEFUL_SET: Final = "mooring.dev/stateful-set"
TEMPLATE: Final = "mooring.dev/template"
ORDINAL: Final = "mooring.dev/ordinal"
HISTORY: Final = "mooring.dev/history"
"""The claims that owned the volume, first to last, as JSON; see `provisioner.model.history`."""

RELEASED: Final = "mooring.dev/released"
"""
The time since which the volume is no claim's former volume any more; also a label of the ownership record.

An admin released it with `mooring release`; or its node was lost, and its class has `onNodeLoss: Release`; or it was
never bound. Its bytes and its claimRef stay, so that no other claim gets them.
"""

LAST_NODE: Final = "mooring.dev/last-node"
"""
``<name>/<uid>`` of the Node that last had the volume's pool, on volumes whose class has `onNodeLoss: Release`.

Once the Node is deleted with its pool label, nothing else identifies it.
"""

LOST_SINCE: Final = "mooring.dev/lost-since"
"""When that Node was first found to be lost (RFC 3339, UTC); stored here for the next leader."""

RECOVERED: Final = "mooring.dev/recovered"
"""When the PersistentVolume was recreated from the manifest, by `mooring recover` or `mooring import`."""

IMPORTED_UID: Final = "imported-by-mooring"
"""The claimRef UID of a volume that an admin assigned to a claim's name, before a claim of that name has adopted it."""

IMPORTED_UIDS: Final = frozenset({IMPORTED_UID, "given-by-mooring-import"})
"""`IMPORTED_UID` and the value that former versions wrote instead, also into manifests."""

RELEASED_UID: Final = "released-by-mooring"
"""The claimRef UID of a volume that was reserved by name alone until an admin released it; written, never read."""

LOST_RACE_UID: Final = "lost-bind-race-by-mooring"
"""
The claimRef UID of a volume that was never bound, because its claim was bound to another one. No claim gets it.

It is written only while that claim exists, which proves that the volume was never bound; it is moved to
the trash.
"""

LOST_RACE_UIDS: Final = frozenset({LOST_RACE_UID, "left-over-says-mooring"})
"""`LOST_RACE_UID` and what former versions wrote for it."""

# Annotations of Mooring on PersistentVolumeClaims

FORGET: Final = "mooring.dev/forget"
"""
The claim's own UID: the claim gets a new volume instead of a former one (`mooring forget`).

The value is the UID so that it does not apply to a copy of the claim.
"""

LAST_REFUSAL: Final = "mooring.dev/last-refusal"
"""
The last refusal of the claim's volume, as JSON; see `provisioner.model.refusal`.

It is written only together with the removal of the selected node, so that it never conflicts with a scheduler that is
about to write the selected node.
"""

# Kubernetes: binding (kubernetes/pkg/controller/volume/persistentvolume)

BIND_COMPLETED: Final = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER: Final = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"
STORAGE_PROVISIONER: Final = "volume.kubernetes.io/storage-provisioner"
STORAGE_PROVISIONER_BETA: Final = "volume.beta.kubernetes.io/storage-provisioner"
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
CLASS_BETA: Final = "volume.beta.kubernetes.io/storage-class"
DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
DEFAULT_CLASS_BETA: Final = "storageclass.beta.kubernetes.io/is-default-class"

# Kubernetes: expansion (kubernetes/pkg/volume/util, external-resizer)

PRE_RESIZE_CAPACITY: Final = "volume.alpha.kubernetes.io/pre-resize-capacity"
"""On a volume whose filesystem is not expanded yet: the former capacity, which its claim reports until then."""

# Kubernetes: finalizers

CLAIM_PROTECTION: Final = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION: Final = "kubernetes.io/pv-protection"
PROVISIONER_FINALIZER: Final = "external-provisioner.volume.kubernetes.io/finalizer"
"""On volumes with policy Delete until their bytes are deleted (external-provisioner's name)."""

# Kubernetes: StatefulSet labels

POD_NAME_LABEL: Final = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL: Final = "apps.kubernetes.io/pod-index"
REVISION_LABEL: Final = "controller-revision-hash"
HOSTNAME_LABEL: Final = "kubernetes.io/hostname"
