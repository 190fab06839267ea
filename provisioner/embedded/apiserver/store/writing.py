"""The moment a write reaches the disk."""

import sqlite3
from collections.abc import Sequence

import structlog

from provisioner.embedded.apiserver.store.database import Database
from provisioner.embedded.apiserver.store.errors import Refused
from provisioner.embedded.apiserver.store.records import Change

log = structlog.get_logger()


def committed(database: Database, changes: Sequence[Change], *, compacted: int) -> None:
    """Write the changes together; raises Refused (500) when the disk does not take them, and nothing has changed."""
    try:
        database.write(changes, compacted=compacted)
    except sqlite3.Error as error:
        log.exception("store_write_failed", version=changes[-1].version)
        message = (
            f"the store could not be written ({error}), so nothing was changed; look for a full disk or lost rights"
        )
        raise Refused(500, "InternalError", message) from error
