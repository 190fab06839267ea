"""A child process that writes to a store as fast as it can and says what was acknowledged; killed by its test."""

import sys
from pathlib import Path

from provisioner.embedded.apiserver.store.store import Store
from provisioner.model.kinds import LEASE


def main() -> None:
    """Create, change and delete for ever; print each name and version once the store has acknowledged it."""
    store = Store(Path(sys.argv[1]), keep_changes=16)
    for number in range(1_000_000):
        name = f"lease-{number}"
        store.create(LEASE, "default", {"metadata": {"name": name}})
        made = store.change(LEASE, "default", name, lambda old: {**old, "spec": {"holderIdentity": "me"}}).object
        print(f"kept {name} {made['metadata']['resourceVersion']}", flush=True)  # noqa: T201 - read by the test
        if number % 3 == 0:
            gone = store.delete(LEASE, "default", name).object
            print(f"gone {name} {gone['metadata']['resourceVersion']}", flush=True)  # noqa: T201 - read by the test


if __name__ == "__main__":
    main()
