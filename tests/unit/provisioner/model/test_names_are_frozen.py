"""Names that users see are an API: a changed name breaks existing clusters."""

from provisioner.model import names

FROZEN = {
    "DRIVER": "csi.mooring.dev",
    "DOMAIN": "mooring.dev",
    "NODE_TOPOLOGY": "topology.mooring.dev/node",
    "POOL_LABEL_PREFIX": "pool.mooring.dev/",
    "POOL_PRESENT": "present",
    "TEMPLATE_NODE": "cluster-autoscaler.kubernetes.io/template-node",
    "HOLDER_CLUSTER_UID": "mooring.dev/cluster-uid",
    "HOLDER_NAMESPACE": "mooring.dev/namespace",
    "HOLDER_NAMESPACE_UID": "mooring.dev/namespace-uid",
    "HOLDER_CLAIM": "mooring.dev/claim",
    "HOLDER_CLAIM_UID": "mooring.dev/claim-uid",
    "HOLDER_STATEFUL_SET": "mooring.dev/stateful-set",
    "HOLDER_TEMPLATE": "mooring.dev/template",
    "HOLDER_ORDINAL": "mooring.dev/ordinal",
    "HOLDER_RECLAIM_POLICY": "mooring.dev/reclaim-policy",
    "HOLDER_CLASS": "mooring.dev/storage-class",
    "HOLDER_ACCESS_MODES": "mooring.dev/access-modes",
    "HOLDER_ATTRIBUTES_CLASS": "mooring.dev/attributes-class",
    "NAMESPACE_UID": "mooring.dev/namespace-uid",
    "STATEFUL_SET": "mooring.dev/stateful-set",
    "TEMPLATE": "mooring.dev/template",
    "ORDINAL": "mooring.dev/ordinal",
    "HISTORY": "mooring.dev/history",
    "RELEASED": "mooring.dev/released",
    "LAST_REFUSAL": "mooring.dev/last-refusal",
    "LAST_NODE": "mooring.dev/last-node",
    "LOST_SINCE": "mooring.dev/lost-since",
    "RECOVERED": "mooring.dev/recovered",
    "IMPORTED_UID": "imported-by-mooring",
    "RELEASED_UID": "released-by-mooring",
    "LOST_RACE_UID": "lost-bind-race-by-mooring",
    "FORGET": "mooring.dev/forget",
    "PROVISIONER_FINALIZER": "external-provisioner.volume.kubernetes.io/finalizer",
}


def test_moorings_names_do_not_change() -> None:
    """A new name has to be added here; an existing one does not change."""
    own = {key for key, value in vars(names).items() if key.isupper() and isinstance(value, str) and "mooring" in value}

    assert own <= FROZEN.keys()
    assert {key: getattr(names, key) for key in FROZEN} == FROZEN


def test_uids_that_former_versions_wrote_are_still_read() -> None:
    """PersistentVolumes and manifests of former versions keep their UIDs."""
    assert {names.IMPORTED_UID, "given-by-mooring-import"} == names.IMPORTED_UIDS
    assert {names.LOST_RACE_UID, "left-over-says-mooring"} == names.LOST_RACE_UIDS
