"""Detection of an external-provisioner for Mooring's driver: it and the controller would each create every volume."""

import datetime as dt

from provisioner.controllers.capacity import DRIVER_LABEL, foreign
from provisioner.kube.transport import Transport
from provisioner.model.kinds import CSI_STORAGE_CAPACITY, LEASE, Object
from provisioner.model.names import DRIVER

LEASE_NAME = DRIVER.replace(".", "-")
"""The name of external-provisioner's Lease. Source: external-provisioner, cmd/csi-provisioner."""
STALE = dt.timedelta(minutes=2)


async def conflicting_provisioner(transport: Transport, *, now: dt.datetime) -> str:
    """Return a message about a conflicting provisioner, with what to do; "" when there is none. Raise ApiError."""
    leases = await transport.list(LEASE, field_selector=f"metadata.name={LEASE_NAME}")
    for each in leases.items:
        if _is_held(each, now):
            where = f"{each['metadata']['namespace']}/{LEASE_NAME}"
            return (
                f"an external-provisioner also serves the driver {DRIVER} (it holds the Lease {where}): "
                "both would create a volume for every claim. Remove the external-provisioner"
            )
    capacities = await transport.list(CSI_STORAGE_CAPACITY, label_selector=f"{DRIVER_LABEL}={DRIVER}")
    return foreign(capacities.items)


def _is_held(lease: Object, now: dt.datetime) -> bool:
    spec = lease.get("spec") or {}
    try:
        renewed = dt.datetime.fromisoformat(str(spec.get("renewTime")))
    except ValueError:
        return False
    return bool(spec.get("holderIdentity")) and now - renewed < STALE
