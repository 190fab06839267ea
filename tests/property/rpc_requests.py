"""
Invalid requests: valid ones with some fields missing, odd, or of another object.

Fields are found through the descriptors, so an RPC or a field that is added to the protocol is fuzzed automatically.
The values of a text field are chosen by its name; `Material` has the volumes and paths that exist now.
"""

import base64
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from csi.v1 import csi_pb2, inventory_pb2

SERVICES: Final = (
    *csi_pb2.DESCRIPTOR.services_by_name.values(),
    *inventory_pb2.DESCRIPTOR.services_by_name.values(),
)
METHODS: Final[dict[str, MethodDescriptor]] = {
    f"/{service.full_name}/{method.name}": method for service in SERVICES for method in service.methods
}
"""Every RPC of the protocols by its path, including those that the driver does not serve."""

UUID: Final = "11111111-2222-3333-4444-555555555555"
TEXTS: Final = (
    "", " ", "a", "A", "0", "-1", "..", ".", "../..", "a/b", "/", "a" * 63, "a" * 64, "a" * 128, "a" * 129, "a" * 5000,
    "x" * 70_000, "\0", "a\0b", "\n", "\t", "\r\n", "\x1b[31m", "\x7f", "\x85", "\u202e", "ü" * 64, "ü" * 65, "😀" * 40,
    "%s%n", "{0}", "'\"", "--help", "$(id)", "null", "Infinity", "mooring.dev/x", "\ufffe", "\\040", "v\n", f"{UUID}.v",
)  # fmt: skip
NUMBERS: Final = (
    0, 1, -1, 2, 511, 512, 513, 4095, 4096, 4097, 1 << 20, (1 << 20) + 1, 8 << 20, 64 << 20, (1 << 31) - 1, -(1 << 31),
    1 << 31, 1 << 32, 1 << 40, (1 << 60) - 1, 1 << 60, (1 << 60) + 1, (1 << 63) - 1, -(1 << 63),
)  # fmt: skip
FLAGS: Final = (
    "", ",", "ro", "rw", "noatime", "nodev", "noexec", "nosuid", "nosymfollow", "sync", "dirsync", "mand", "silent",
    "lazytime", "strictatime", "relatime", "iversion", "defaults", "_netdev", "nofail", "x-a.b=c", "comment=x", "ro,,noatime",
    "bind", "remount", "move", "shared", "errors=panic", "errors=continue", "errors=remount-ro", "logdev=/dev/sda",
    "journal_path=/dev/sda", "stripe=9999999999", "stripe=16", "commit=9999999999", "commit=5", "data=journal",
    "data=journal,delalloc", "data=writeback", "discard", "dioread_lock", "init_itable=0", "max_dir_size_kb=1",
    "resuid=4294967295", "usrquota", "prjquota", "noload", "norecovery", "subvol=/x", "user_xattr", "\0", "a=\n", "=", "=x",
    "x" * 3000,
)  # fmt: skip
PARAMETERS: Final[dict[str, tuple[str, ...]]] = {
    "backend": ("directory", "loop", "zvol", "", "Loop"),
    "pool": ("local", "", "other", "..", "/", "local "),
    "provisioning": ("thin", "thick", "", "THICK"),
    "csi.storage.k8s.io/fstype": ("ext4", "xfs", "btrfs", "", "ext3", "ntfs", "x" * 2000),
    "trashRetention": ("24h", "1h30m", "1s", "0s", "", "-1s", "1d", "99999999999999h", "1h1h", "१h", "1.5h"),
    "mkfsOptions": ("", "-b 1024", "-b 17", "-b", "-m 0", "-N 16", "-N 99999999999", "-O ^has_journal", "-O nonsense",
                    "-E x=1", "-J size=4", "-J device=/dev/sda", "-i -1", "-I 3", "-b size=3", "-m crc=0", "-d agcount=0"),
    "adopt": ("Never", "Ordinal", "?"),
    "onNodeLoss": ("Wait", "Release"),
    "csi.storage.k8s.io/pvc/name": ("data-web-0", ""),
    "mooring.dev/claim": ("data-web-0", "", "\0"),
    "mooring.dev/": ("",),
}  # fmt: skip
TOKENS: Final = (
    "",
    "x",
    "=",
    "after:",
    *(base64.urlsafe_b64encode(each).decode() for each in (b"after:", b"after:v", b"x", b"\xff")),
)
FOCUS_FIELDS: Final = {
    "staging_target_path", "target_path", "volume_path", "volume_capability", "parameters",
}  # fmt: skip
MAX_VALUES_OF_A_FIELD: Final = 3000
MAX_COPIED_BYTES: Final = 1 << 18


@dataclass
class Material:
    """Values for requests: handles and names of volumes, and paths."""

    handles: Sequence[str]
    names: Sequence[str]
    paths: Sequence[str]


def new_request(path: str) -> Message:
    """Return an empty request of the RPC."""
    return GetMessageClass(METHODS[path].input_type)()


class Mutator:
    """A mutator of requests that makes its choices with one random generator."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def mutate(self, request: Message, material: Material) -> None:
        """Change one of FOCUS_FIELDS, or one to four of all fields."""
        if self._rng.random() < 0.4 and self._change_focus_field(request, material):
            return
        for _ in range(self._rng.choice((1, 1, 1, 2, 3, 4))):
            self._change(request, material)

    def _change_focus_field(self, request: Any, material: Material) -> bool:
        """Set a path, mount options or parameters, and nothing else; return whether the request has such a field."""
        fields = set(request.DESCRIPTOR.fields_by_name)
        chosen = self._rng.choice(sorted(fields & FOCUS_FIELDS) or [""])
        if chosen == "parameters":
            request.parameters["backend"] = self._rng.choice(("loop", "directory"))
            key = self._rng.choice(list(PARAMETERS))
            request.parameters[key] = self._rng.choice(PARAMETERS[key])
            if "name" in fields:
                request.name = f"w{self._rng.randrange(4)}"
        elif chosen == "volume_capability":
            request.volume_capability.mount.mount_flags.extend(self._rng.choices(FLAGS, k=self._rng.choice((1, 2))))
        elif chosen:
            setattr(request, chosen, self._rng.choice(material.paths))
        return bool(chosen)

    def _change(self, message: Message, material: Material) -> None:
        fields: list[Any] = list(message.DESCRIPTOR.fields)
        if not fields or self._rng.random() < 0.03:
            message.MergeFromString(b"\xfa\x3f\x03odd")  # field 1023, which no message defines
            return
        field = self._rng.choice(fields)
        if self._rng.random() < 0.15:
            message.ClearField(field.name)
        elif field.is_repeated:
            self._change_repeated(message, field, material)
        elif field.message_type is not None:
            self._change(getattr(message, field.name), material)
            getattr(message, field.name).SetInParent()
        else:
            setattr(message, field.name, self._value(field, material))

    def _change_repeated(self, message: Message, field: FieldDescriptor, material: Material) -> None:
        values: Any = getattr(message, field.name)
        count = self._rng.choice((1, 1, 1, 2, 5, MAX_VALUES_OF_A_FIELD))
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for number in range(count):
                key, value = self._entry(count, number)
                values[key] = value
        elif field.message_type is not None:
            if values and self._rng.random() < 0.6:
                self._change(self._rng.choice(values), material)
                return
            added = values.add()
            for _ in range(3):
                self._change(added, material)
            for _ in range(min(count, MAX_COPIED_BYTES // (added.ByteSize() + 1)) - 1):
                values.add().CopyFrom(added)
        else:
            values.extend(self._value(field, material) for _ in range(count))

    def _entry(self, count: int, number: int) -> tuple[str, str]:
        if count == MAX_VALUES_OF_A_FIELD:
            return f"mooring.dev/{number}", ""
        if self._rng.random() < 0.7:
            key = self._rng.choice(list(PARAMETERS))
            return key, self._rng.choice(PARAMETERS[key])
        return self._rng.choice(TEXTS), self._rng.choice(TEXTS)

    def _value(self, field: FieldDescriptor, material: Material) -> Any:
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING:
                return self._text(field, material)
            case FieldDescriptor.CPPTYPE_BOOL:
                return self._rng.random() < 0.5
            case FieldDescriptor.CPPTYPE_ENUM:
                return self._rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 99, -1, (1 << 31) - 1))
            case FieldDescriptor.CPPTYPE_INT32:
                return self._rng.choice([each for each in NUMBERS if -(1 << 31) <= each < 1 << 31])
            case FieldDescriptor.CPPTYPE_INT64:
                return self._rng.choice(NUMBERS)
            case _:
                raise TypeError(f"{field.full_name} has a type for which no values are generated; add some here")

    def _text(self, field: FieldDescriptor, material: Material) -> str:
        if field.type == FieldDescriptor.TYPE_BYTES:
            raise TypeError(f"{field.full_name} has a type for which no values are generated; add some here")
        by_name: Sequence[str] = ()
        if field.name.endswith("path"):
            by_name = material.paths
        elif field.name.endswith("volume_id") or field.name.endswith("_id"):
            by_name = [*material.handles, *(odd(each) for each in material.handles[:2] for odd in ODD_HANDLES)]
        elif field.name in {"name", "item", "pool"}:
            by_name = material.names
        elif field.name.endswith("token"):
            by_name = TOKENS
        elif field.name in {"mount_flags", "fs_type"}:
            by_name = FLAGS if field.name == "mount_flags" else PARAMETERS["csi.storage.k8s.io/fstype"]
        return self._rng.choice(by_name if by_name and self._rng.random() < 0.8 else TEXTS)


ODD_HANDLES: Final[tuple[Callable[[str], str], ...]] = (
    str.upper,
    lambda handle: handle + "\n",
    lambda handle: handle + "/../x",
    lambda handle: handle.partition(".")[0],
    lambda handle: handle.partition(".")[0] + ".",
    lambda handle: handle.partition(".")[0] + ".unknown",
    lambda handle: f"{UUID}.{handle.partition('.')[2]}",
    lambda handle: handle.partition(".")[2],
)


def broken_bytes(rng: random.Random, request: Message) -> bytes:
    """Return bytes in place of a request: truncated, with a bit flipped, not UTF-8, or random."""
    content = bytearray(request.SerializeToString())
    match rng.randrange(4):
        case 0 if content:
            return bytes(content[: rng.randrange(len(content))])
        case 1 if content:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            return bytes(content)
        case 2:
            return b"\x0a\x02\xff\xfe" + bytes(content)
        case _:
            return rng.randbytes(rng.choice((1, 7, 100, 5000)))


def is_request(descriptor: Descriptor, content: bytes) -> bool:
    """Report whether the bytes are a message of this type."""
    try:
        GetMessageClass(descriptor)().MergeFromString(content)
    except Exception:  # noqa: BLE001 # protobuf has no stable import path for DecodeError
        return False
    return True
