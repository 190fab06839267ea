"""
Build images without a registry, as archives that every container runtime imports.

The test image has a static busybox with all its names; the pause image is the same under another name.
"""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from hack.cluster.node import PAUSE

BUSYBOX: Final = "mooring.dev/busybox:1"
PROGRAM: Final = Path("/bin/busybox")
ACCOUNTS: Final = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}


def busybox(target: Path) -> None:
    """Write an archive with the test image and the pause image."""
    archive = Archive()
    blob = archive.add(busybox_layer({}))
    archive.image(BUSYBOX, blob, ["sh"])
    archive.image(PAUSE, blob, ["sleep", "infinity"])
    archive.write(target)


def busybox_layer(more: dict[str, bytes]) -> bytes:
    """
    Return a layer with a static busybox under all its names, and more programs.

    :param more: path in the image → content; one that has the name of a part of busybox takes its place
    """
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        folders = {"bin", "etc", "tmp", "root", "var", "proc", "sys", "dev"}
        for path in more:
            folders |= {str(folder) for folder in PurePosixPath(path).parents if folder.name}
        for folder in sorted(folders):
            _add_folder(tar, folder, 0o1777 if folder == "tmp" else 0o755)
        for name, text in ACCOUNTS.items():
            _add_file(tar, name, text.encode(), 0o644)
        for name, content in {"bin/busybox": PROGRAM.read_bytes(), **more}.items():
            _add_file(tar, name, content, 0o755)
        listing = subprocess.run([PROGRAM, "--list"], capture_output=True, text=True, check=True)
        for applet in listing.stdout.split():
            if applet != "busybox" and f"bin/{applet}" not in more:
                _add_link(tar, f"bin/{applet}", "busybox")
    return layer.getvalue()


def _add_folder(tar: tarfile.TarFile, name: str, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    tar.addfile(entry)


def _add_file(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _add_link(tar: tarfile.TarFile, name: str, to: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, to
    tar.addfile(entry)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Archive:
    """An OCI archive: blobs by their digest, and an index that names the images."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: list[dict[str, object]] = field(default_factory=list)

    def add(self, content: bytes) -> str:
        """Add a blob; return its digest."""
        self.blobs[_digest(content)] = content
        return _digest(content)

    def _descriptor(self, kind: str, digest: str) -> dict[str, object]:
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(self.blobs[digest])}

    def image(self, name: str, layer: str, command: list[str], entrypoint: Sequence[str] = ()) -> None:
        """Add an image of one uncompressed layer."""
        config = {
            "architecture": architecture(),
            "os": "linux",
            "config": {"Entrypoint": [*entrypoint], "Cmd": command, "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self._descriptor("config.v1+json", self.add(json.dumps(config).encode())),
            "layers": [self._descriptor("layer.v1.tar", layer)],
        }
        descriptor = self._descriptor("manifest.v1+json", self.add(json.dumps(manifest).encode()))
        names = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
        self.manifests.append(descriptor | {"annotations": names})

    def write(self, target: Path) -> None:
        """Write the archive."""
        index = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": self.manifests,
        }
        files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(index).encode()}
        files |= {f"blobs/sha256/{digest}": content for digest, content in self.blobs.items()}
        with tarfile.open(target, "w") as tar:
            for name, content in files.items():
                _add_file(tar, name, content, 0o644)


def architecture() -> str:
    """Return this machine's architecture in Go's and OCI's terms."""
    done = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)
    return done.stdout.strip()
