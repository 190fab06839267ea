"""
Every name the world sees, in one place: an API frozen by a golden test.

Names under ``mooring.dev`` are ours. The others belong to Kubernetes; where a rule goes with the name, its source is
given beside it.
"""

from typing import Final

DRIVER: Final = "csi.mooring.dev"
"""CSI driver name and provisioner name of our StorageClasses."""

DOMAIN: Final = "mooring.dev"
"""Prefix of our annotations, labels and finalizers."""

# Topology

NODE_TOPOLOGY: Final = "topology.mooring.dev/node"
"""The one constant key that NodeGetInfo reports."""

POOL_LABEL_PREFIX: Final = "pool.mooring.dev/"
"""Node label ``pool.mooring.dev/<pool uuid>: present``: the disk's identity, in PV node affinity and
capacity objects."""

POOL_PRESENT: Final = "present"

TEMPLATE_NODE: Final = "cluster-autoscaler.kubernetes.io/template-node"
"""
Node label of cluster-autoscaler on the nodes that it imagines; no such node has the pool whose label it copied.

So node affinity and capacity objects ask that it does not exist. Source: cluster-autoscaler, simulator/node_info_utils.
"""

# Reserved CreateVolume parameters: who holds the volume. The driver keeps them as opaque labels.

HOLDER_CLUSTER_UID: Final = "mooring.dev/cluster-uid"
HOLDER_NAMESPACE: Final = "mooring.dev/namespace"
HOLDER_NAMESPACE_UID: Final = "mooring.dev/namespace-uid"
HOLDER_CLAIM: Final = "mooring.dev/claim"
HOLDER_CLAIM_UID: Final = "mooring.dev/claim-uid"
HOLDER_STATEFUL_SET: Final = "mooring.dev/stateful-set"
HOLDER_TEMPLATE: Final = "mooring.dev/template"
HOLDER_ORDINAL: Final = "mooring.dev/ordinal"
HOLDER_RECLAIM_POLICY: Final = "mooring.dev/reclaim-policy"
"""The policy the volume was made under: what becomes of it when its claim vanished before it had an object."""

HOLDER_CLASS: Final = "mooring.dev/storage-class"
"""The claim's StorageClass, and below its access modes, with commas: what a PersistentVolume made anew has to say."""

HOLDER_ACCESS_MODES: Final = "mooring.dev/access-modes"
HOLDER_ATTRIBUTES_CLASS: Final = "mooring.dev/attributes-class"
"""The VolumeAttributesClass in force; not there when there is none."""

# Annotations of ours on PersistentVolumes

NAMESPACE_UID: Final = "mooring.dev/namespace-uid"
"""UID of the namespace whose claim holds the volume: a namespace made anew is not the same owner."""

STATEFUL_SET: Final = "mooring.dev/stateful-set"
TEMPLATE: Final = "mooring.dev/template"
ORDINAL: Final = "mooring.dev/ordinal"
HISTORY: Final = "mooring.dev/history"
"""The claims that held the volume, first to last, as JSON; see `provisioner.model.history`."""

RELEASED: Final = "mooring.dev/released"
"""
Also a holder's label: since when no claim has the volume as its former one any longer. An admin said so, by
`mooring release`; or its node was lost, and its class says `onNodeLoss: Release`; or nobody ever had it. It keeps its
bytes, and its claimRef, so that nobody else gets them.
"""

LAST_NODE: Final = "mooring.dev/last-node"
"""
``<name>/<uid>`` of the Node that had the volume's pool last. Only on volumes whose class says `onNodeLoss: Release`:
once the pool's label is gone with the Node, nothing else tells which Node that was.
"""

LOST_SINCE: Final = "mooring.dev/lost-since"
"""When that Node was first seen to be gone (RFC 3339, UTC). It stands here so that a new leader does not begin anew."""

RECOVERED: Final = "mooring.dev/recovered"
"""When the object was written anew from the volume's manifest, by `mooring recover` or `mooring import`."""

IMPORTED_UID: Final = "imported-by-mooring"
"""The claimRef UID of a volume that an admin assigned to a claim's name, before a claim of that name has adopted it."""

IMPORTED_UIDS: Final = frozenset({IMPORTED_UID, "given-by-mooring-import"})
"""`IMPORTED_UID` and what former versions wrote for it, also into manifests."""

RELEASED_UID: Final = "released-by-mooring"
"""The claimRef UID of a volume that was reserved by name alone until an admin released it; written, never read."""

LOST_RACE_UID: Final = "lost-bind-race-by-mooring"
"""
The claimRef UID of a volume that was never bound, because its claim was bound to another one. No claim gets it.

It is written only while that claim exists, which proves it; the volume goes to the trash.
"""

LOST_RACE_UIDS: Final = frozenset({LOST_RACE_UID, "left-over-says-mooring"})
"""`LOST_RACE_UID` and what former versions wrote for it."""

# Annotations of ours on PersistentVolumeClaims

FORGET: Final = "mooring.dev/forget"
"""
The claim's own UID: it shall have a new volume, and its former ones stay where they are (`mooring forget`). The UID
keeps a copy of the claim from forgetting as well.
"""

LAST_REFUSAL: Final = "mooring.dev/last-refusal"
"""
The last refusal of the claim's volume, as JSON; see `provisioner.model.refusal`.

Never written to a claim on which a scheduler may be about to write its selected node, but with the patch that removes
that.
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

# Kubernetes: growing (kubernetes/pkg/volume/util, external-resizer)

PRE_RESIZE_CAPACITY: Final = "volume.alpha.kubernetes.io/pre-resize-capacity"
"""On a volume whose filesystem has yet to grow: what it had before, and what a claim bound to it has until then."""

# Kubernetes: finalizers

CLAIM_PROTECTION: Final = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION: Final = "kubernetes.io/pv-protection"
PROVISIONER_FINALIZER: Final = "external-provisioner.volume.kubernetes.io/finalizer"
"""Kept on volumes whose policy is Delete until their bytes are gone (external-provisioner's name)."""

# Kubernetes: StatefulSet labels

POD_NAME_LABEL: Final = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL: Final = "apps.kubernetes.io/pod-index"
REVISION_LABEL: Final = "controller-revision-hash"
HOSTNAME_LABEL: Final = "kubernetes.io/hostname"
