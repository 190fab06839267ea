"""
Which mount options a volume can have: those of mount(8) that no kernel knows are dropped, the rest is an allow-list.

The options come from a StorageClass or a PersistentVolume and reach mount(2) as root. So an option is taken only when
it is known to concern the volume alone: none that names a device or a file of the node (``logdev=``,
``journal_path=``), lets an error stop the node (``errors=panic``) or skips the recovery of the filesystem.
Sources: mount(8), ext4(5), xfs(5), btrfs(5).
"""

import re
from collections.abc import Iterable
from typing import Final

from csi.host import mounts

DROPPED: Final = frozenset({"_netdev", "nofail", "fail", "auto", "noauto", "nouser", "noowner", "nogroup"})
"""They are for programs such as systemd, and have no effect on the mount itself."""

_DROPPED_PREFIXES: Final = ("x-", "comment=")

_NUMBER: Final = "[0-9]{1,10}"
_SIZE: Final = "[0-9]{1,10}[kKmMgG]?"
_COMPRESSION: Final = "no|none|(?:zlib|lzo|zstd)(?::[0-9]{1,2})?"


def _each(names: str, pattern: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), pattern)


ALLOWED: Final[dict[str, dict[str, str]]] = {
    "ext4": {
        **_each(
            "acl noacl user_xattr nouser_xattr barrier nobarrier discard nodiscard delalloc nodelalloc "
            "journal_async_commit journal_checksum nojournal_checksum auto_da_alloc noauto_da_alloc init_itable "
            "noinit_itable block_validity noblock_validity dioread_lock dioread_nolock nodioread_nolock i_version "
            "grpid nogrpid bsdgroups sysvgroups minixdf bsddf quota noquota usrquota grpquota prjquota nombcache "
            "no_mbcache prefetch_block_bitmaps no_prefetch_block_bitmaps",
            "",
        ),
        "barrier=": "[01]",
        "data=": "journal|ordered|writeback",
        "data_err=": "ignore|abort",
        "errors=": "continue|remount-ro",
        "journal_ioprio=": "[0-7]",
        **_each(
            "commit= stripe= inode_readahead_blks= max_batch_time= min_batch_time= init_itable= max_dir_size_kb= "
            "resuid= resgid=",
            _NUMBER,
        ),
    },
    "xfs": {
        **_each(
            "attr2 noattr2 discard nodiscard grpid nogrpid bsdgroups sysvgroups filestreams ikeep noikeep inode32 "
            "inode64 largeio nolargeio noalign swalloc wsync nouuid quota noquota uquota usrquota uqnoenforce "
            "gquota grpquota gqnoenforce pquota prjquota pqnoenforce",
            "",
        ),
        **_each("allocsize= logbsize=", _SIZE),
        **_each("logbufs= sunit= swidth=", _NUMBER),
    },
    "btrfs": {
        **_each(
            "acl noacl autodefrag noautodefrag barrier nobarrier clear_cache compress compress-force datacow "
            "nodatacow datasum nodatasum discard nodiscard flushoncommit noflushoncommit treelog notreelog "
            "space_cache nospace_cache ssd nossd ssd_spread nossd_spread skip_balance user_subvol_rm_allowed",
            "",
        ),
        **_each("compress= compress-force=", _COMPRESSION),
        "discard=": "sync|async",
        "space_cache=": "v1|v2",
        "max_inline=": _SIZE,
        **_each("commit= metadata_ratio= thread_pool=", _NUMBER),
    },
}
"""By filesystem: each option, ending in ``=`` where it takes a value, and the pattern of the value."""


def effective(options: Iterable[str]) -> tuple[str, ...]:
    """Return the options one by one, without those that are for programs only."""
    each = (part.strip() for option in options for part in option.split(","))
    return tuple(part for part in each if part and part not in DROPPED and not part.startswith(_DROPPED_PREFIXES))


def refused(fs_type: str, options: Iterable[str]) -> str:
    """
    Return why the effective options cannot be used, in one sentence; "" when they can.

    `fs_type` is "" for a directory volume: a bind mount, which takes the options of a mount and none of a filesystem.
    """
    generic = mounts.FLAGS.keys() | mounts.DEFAULTS if fs_type else mounts.PER_MOUNT | mounts.DEFAULTS
    own = ALLOWED.get(fs_type, {})
    for option in options:
        name, assignment, value = option.partition("=")
        pattern = own.get(f"{name}{assignment}")
        if option in generic or (pattern is not None and re.fullmatch(pattern, value, re.ASCII)):
            continue
        kind = f"a volume with {fs_type}" if fs_type else "a directory volume"
        if pattern:
            return f"mount option {option!r} is not possible for {kind}: {name} takes a value of the form {pattern}"
        return f"mount option {option!r} is not possible for {kind}; possible are {', '.join(sorted({*generic, *own}))}"
    return ""
