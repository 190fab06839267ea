"""Writes of changes to disk."""

import sqlite3
from collections.abc import Sequence

import structlog

from provisioner.embedded.apiserver.store.database import Database
from provisioner.embedded.apiserver.store.errors import StatusError
from provisioner.embedded.apiserver.store.records import Change

log = structlog.get_logger()


def committed(database: Database, changes: Sequence[Change], *, compacted: int) -> None:
    """Write the changes in one transaction; raise StatusError (500) if that fails, with nothing changed."""
    try:
        database.write(changes, compacted=compacted)
    except sqlite3.Error as error:
        bug = None if isinstance(error, sqlite3.OperationalError) else error  # else the disk: full, or broken
        log.error("store.write_failed", version=changes[-1].version, error=repr(error), exc_info=bug)
        message = (
            f"the store could not be written ({error}), so nothing was changed; "
            "check the disk for free space and the permissions of the file"
        )
        raise StatusError(500, "InternalError", message) from error
