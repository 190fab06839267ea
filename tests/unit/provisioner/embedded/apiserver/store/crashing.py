"""A child process that writes to a store and prints each acknowledged write; its test kills it."""

import sys
from pathlib import Path

from provisioner.embedded.apiserver.store.store import Store
from provisioner.model.kinds import LEASE


def main() -> None:
    """Create, update and delete Leases; print each name and version once the store has acknowledged the write."""
    store = Store(Path(sys.argv[1]), keep_changes=16)
    for number in range(1_000_000):
        name = f"lease-{number}"
        store.create(LEASE, "default", {"metadata": {"name": name}})
        created = store.change(LEASE, "default", name, lambda old: {**old, "spec": {"holderIdentity": "me"}}).object
        print(f"stored {name} {created['metadata']['resourceVersion']}", flush=True)  # noqa: T201 - read by the test
        if number % 3 == 0:
            deleted = store.delete(LEASE, "default", name).object
            print(f"deleted {name} {deleted['metadata']['resourceVersion']}", flush=True)  # noqa: T201 - read by the test


if __name__ == "__main__":
    main()
