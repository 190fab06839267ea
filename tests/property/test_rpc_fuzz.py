"""
Every response of the driver to any request has a code that its RPC may return, and has only the requested effect.

Valid calls on a few volumes are mixed with requests that have fields missing, odd or of another object. Each run prints
MOORING_TEST_SEED at its end; the number of calls is a slice of the whole sweep (see docs/testing.md).
"""

import contextlib
import os
import random
import subprocess
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from csi import limits
from csi.services.edge import sent_bytes
from csi.v1 import csi_pb2, inventory_pb2
from csi.volumes.pools import make_pool
from tests import sweeps
from tests.property.rpc_codes import CODES
from tests.property.rpc_model import Model, changes, snapshot
from tests.property.rpc_requests import METHODS, TEXTS, Material, Mutator, broken_bytes, is_request, new_request
from tests.property.rpc_valid import IMPORTS, MAX_VOLUMES, MIB, ValidRequests
from tests.unit.csi.services.driver import Driver, running
from tests.unit.csi.services.kubelet import Kubelet

C: Final = csi_pb2
SECONDS: Final = 60.0
"""The time limit of one call, on a busy machine."""

CALLS: Final = 10_000
"""The number of calls of a whole sweep."""

CHECK_EACH: Final = 25
MAX_PRINTED_BYTES: Final = 20_000
POOL_BYTES: Final = 1 << 30

AS_ROOT: Final = ("unshare", "--mount", "--propagation", "private", "--")
IN_A_USER_NAMESPACE: Final = ("unshare", "--user", "--map-root-user", "--mount", "--")

DECOY: Final = ("sh", "-c", 'mount -t tmpfs decoy "$0" && exec "$@"')
"""A command that mounts a filesystem the driver must not touch, and then becomes the driver."""

"""The codes that the CSI specification and docs allow, by RPC; any other RPC returns UNIMPLEMENTED."""

_HIGH_WEIGHT: Final = {
    "CreateVolume", "NodeStageVolume", "NodeUnstageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeExpandVolume",
    "NodeGetVolumeStats",
}  # fmt: skip


def _weight(path: str) -> int:
    """Return the weight of an RPC among the changed requests: higher for RPCs with more possible errors."""
    name = path.rpartition("/")[2]
    if name in _HIGH_WEIGHT:
        return 12
    return 4 if name in CODES and METHODS[path].input_type.fields else 1


WEIGHTS: Final = {path: _weight(path) for path in METHODS}

UNKNOWN_BYTES: Final = {"UNKNOWN"}
"""The code of bytes that are no protobuf: gRPC itself refuses them."""


class Fuzz:
    """One driver, its model, and the calls."""

    def __init__(self, driver: Driver, rng: random.Random, *, loop: bool) -> None:
        self._driver = driver
        self._rng = rng
        self._mutator = Mutator(rng)
        self._channel = grpc.insecure_channel(f"unix://{driver.home}/csi.sock")
        self.counts: Counter[str] = Counter()
        listed = driver.inventory.ListPools(inventory_pb2.ListPoolsRequest(), timeout=SECONDS).pools
        self._pools = {pool.uuid: Path(pool.path) for pool in listed}
        self.model = Model(self._pools, driver.pid, driver.home)
        self._outside = driver.home / "outside"
        self._decoys = devices(driver.home)
        self._before = snapshot(self._outside)
        self.valid = ValidRequests(self.model, rng, driver.home, loop=loop)
        self._slowest = ("", 0.0)
        self._recent: deque[str] = deque(maxlen=2 * CHECK_EACH)

    def step(self) -> None:
        """Make one call: a valid one, a changed one, or invalid bytes."""
        chance = self._rng.random()
        if chance < 0.35:
            self._valid()
        elif chance < 0.97:
            (path,) = self._rng.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))
            request = self.valid.build(path.rpartition("/")[2]) or new_request(path)
            self._mutator.mutate(request, self._material())
            self.call(path, request)
        else:
            self._bytes()

    def _valid(self) -> None:
        """Make one valid call; a repeated call must succeed as well."""
        name = self._rng.choice(
            ["CreateVolume"] * 2
            + ["NodeStageVolume", "NodePublishVolume"] * 4
            + ["NodeUnpublishVolume", "NodeUnstageVolume", "DeleteVolume"] * 2
            + ["ControllerExpandVolume", "NodeExpandVolume", "NodeGetVolumeStats", "Undelete", "RecordHolder", "Import"]
            + ["ListVolumes", "ListManifests", "ListTrash", "GetCapacity", "ControllerGetVolume", "Purge"]
        )
        request = self.valid.build(name)
        if request is None:
            return
        path = next(each for each in METHODS if each.endswith(f"/{name}"))
        code = self.call(path, request)
        if code == "OK" and self._rng.random() < 0.3:
            again = self.call(path, request)
            allowed = {"OK"} | ({"ALREADY_EXISTS"} if name == "Undelete" else set())
            assert again in allowed, f"again: {self._recent[-1]}"

    def _material(self) -> Material:
        """Return values for requests, including deleted volumes and paths that no caller may use."""
        directory, volumes = self._driver.home, list(self.model.volumes.values())
        in_use = [path for each in volumes for path in (each.staged, *sorted(each.targets)) if path]
        volume_dirs = [str(each.volume_dir) for each in volumes[:3]]
        pools = [str(each) for each in self._pools.values()]
        odd = [
            *(str(path) for path in sorted(self._outside.rglob("*"))[:40]),
            *(f"{self._outside}/{name}" for name in ("new", "new\nline", "new \\040", "a" * 255, "a" * 256, "é", ".")),
            *(f"{directory}/staging/v{number}" for number in range(MAX_VOLUMES)),
            *pools, *(f"{each}/{name}" for each in pools for name in ("pool.json", "volumes", "volumes/new", "trash", "x/y", "import")),
            *volume_dirs, *(f"{each}/{name}" for each in volume_dirs for name in ("data", "data/x", "data/canary", "image", "manifest.json")),
            *in_use, *(f"{path}/{name}" for path in in_use for name in ("below", "canary", ".", "/")),
            *(f"/{path}" for path in in_use), *(path.replace("/", "//") for path in in_use), f"{self._outside}/./empty",
            f"{directory}", f"{directory}/csi.sock", f"{directory}/node-records", f"{directory}/node-records/x", f"{directory}/../x", "relative/path", "..", "",
            f"/proc/{os.getpid()}/fd/0", "/proc/self/mooring", "/proc/mooring", "/proc/self/fd/0", "/proc/self/root",
            "/proc/self/ns/mnt", "/proc/self/attr/x", "/sys/mooring", "/dev/null", "/dev/zero", "/dev/fd/0", f"/proc/{self._driver.pid}/root{directory}/outside/new",
            f"{directory}/" + "/".join(["a" * 200] * 20), f"{directory}/" + "/".join(["a" * 200] * 30), f"{self._outside}/x\0y", "\0", f"unix://{directory}", f"{directory}/\u202e",
        ]  # fmt: skip
        handles = [
            *self.model.volumes,
            *(each.handle for each in self.model.trash),
            *(f"{uuid}.v{self._rng.randrange(9)}" for uuid in self._pools),
        ]
        names = [*(f"v{number}" for number in range(MAX_VOLUMES)), *IMPORTS, "..", "link", "fifo", "local", "second"]
        return Material(handles, names, odd)

    def call(self, path: str, request: Message) -> str:
        """Make one call, check its response, and return its code."""
        rpc, method = path.rpartition("/")[2], METHODS[path]
        response_class = GetMessageClass(method.output_type)
        make: Any = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        method_call = make(
            path, request_serializer=type(request).SerializeToString, response_deserializer=response_class.FromString
        )
        self.model.record_request(rpc, request)
        size = request.ByteSize()
        description = f"{rpc}({str(request)[:600]!r})" if size < MAX_PRINTED_BYTES else f"{rpc}({size} bytes)"
        started = time.monotonic()
        code, message, answer = "OK", "", None
        try:
            answer = method_call(request, timeout=SECONDS)
            answer = list(answer) if method.server_streaming else answer
        except grpc.RpcError as error:
            code, message = error.code().name, error.details() or ""
        self._slowest = max(self._slowest, (description, time.monotonic() - started), key=lambda each: each[1])
        self.counts[f"{rpc} {code}"] += 1
        self._recent.append(f"{description[:400]}: {code} {message[:200]}")
        assert code in CODES.get(rpc, {"UNIMPLEMENTED"}), f"{description}: {code}: {message}"
        assert code == "OK" or (message and sent_bytes(message) <= limits.MESSAGE_BYTES and message.isprintable()), (
            f"{description}: {code}: {message!r}"
        )
        assert "Traceback" not in message, description
        if code == "OK":
            try:
                self.model.apply(rpc, request, answer)
            except Exception as error:
                raise AssertionError(f"{description} was answered with OK: {error!r}") from error
        return code

    def _bytes(self) -> None:
        """Send bytes in place of a request, and check the code."""
        path = self._rng.choice(list(METHODS))
        name = path.rpartition("/")[2]
        content = broken_bytes(self._rng, self.valid.build(name) or new_request(path))
        if is_request(METHODS[path].input_type, content):
            request = GetMessageClass(METHODS[path].input_type)()
            request.MergeFromString(content)
            self.call(path, request)
            return
        make: Any = self._channel.unary_stream if METHODS[path].server_streaming else self._channel.unary_unary
        try:
            answer = make(path)(content, timeout=SECONDS)
            code = "OK" if not METHODS[path].server_streaming else f"OK {list(answer)}"
        except grpc.RpcError as error:
            code = error.code().name
        self.counts["bytes"] += 1
        assert code in UNKNOWN_BYTES | (set() if name in CODES else {"UNIMPLEMENTED"}), (
            f"{path} {content[:80]!r}: {code}"
        )

    def check(self) -> None:
        """Check the invariants; a failure lists the last calls."""
        try:
            self._check()
        except AssertionError as error:
            raise AssertionError("\n".join([f"{error}", "after:", *self._recent])) from None

    def _check(self) -> None:
        self.model.check_mounts()
        self.model.check_bytes()
        listed = self._driver.controller.ListVolumes(C.ListVolumesRequest(), timeout=SECONDS).entries
        assert {each.volume.volume_id for each in listed} == set(self.model.volumes)
        trash = self._driver.inventory.ListTrash(inventory_pb2.ListTrashRequest(), timeout=SECONDS).entries
        assert {each.manifest.volume_id for each in trash} <= {each.handle for each in self.model.trash}
        assert changes(self._before, snapshot(self._outside), self.model.named) == []

    def delete_all(self) -> None:
        """Unpublish, unstage, delete and purge every volume, and check that nothing is left of it."""
        for volume in list(self.model.volumes.values()):
            for target in sorted(volume.targets):
                request = C.NodeUnpublishVolumeRequest(volume_id=volume.handle, target_path=target)
                assert self.call("/csi.v1.Node/NodeUnpublishVolume", request) == "OK"
            if volume.staged:
                unstage = C.NodeUnstageVolumeRequest(volume_id=volume.handle, staging_target_path=volume.staged)
                assert self.call("/csi.v1.Node/NodeUnstageVolume", unstage) == "OK"
            delete = C.DeleteVolumeRequest(volume_id=volume.handle)
            assert self.call("/csi.v1.Controller/DeleteVolume", delete) == "OK"
        self.check()
        self._driver.inventory.Purge(inventory_pb2.PurgeRequest(all=True), timeout=SECONDS)
        for pool in self._pools.values():
            assert [*(pool / "volumes").iterdir(), *(pool / "trash").iterdir()] == []
        assert devices(self._driver.home) == self._decoys

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    @property
    def slowest(self) -> str:
        """The call that took longest."""
        return f"{self._slowest[0].partition('(')[0]} {self._slowest[1]:.2f} s"


def devices(directory: Path) -> dict[str, Path]:
    """Return the loop devices of images below the directory, with their images, including removed ones."""
    found = {}
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            path = Path(file.read_text(encoding="utf-8").strip())
            if path.is_relative_to(directory):
                found[f"/dev/{file.parent.parent.name}"] = path
    return found


def create_files(directory: Path) -> None:
    """Create a tree that the driver must not touch, items to import, and two pools."""
    outside = directory / "outside"
    for name in ("empty", "empty2", "full/deep", "odd name\n", "mounted"):
        (outside / name).mkdir(parents=True)
    (outside / "full" / "file").write_text("precious", encoding="utf-8")
    (outside / "file").write_text("precious", encoding="utf-8")
    (outside / "nothing").touch()
    (outside / "to-file").symlink_to("file")
    (outside / "to-empty").symlink_to("empty")
    (outside / "to-full").symlink_to(outside / "full")
    (outside / "to-pool").symlink_to(directory / "pool")
    (outside / "dangling").symlink_to("gone")
    (outside / "circle").symlink_to("circle")
    os.mkfifo(outside / "fifo")
    for name in ("pool", "second"):
        make_pool(directory / name, name="local" if name == "pool" else name, capacity_bytes=POOL_BYTES, known={})
    folder = directory / "pool" / "import"
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "file").write_text("imported", encoding="utf-8")
    for name, size in (("disk.img", 16 * MIB), ("odd.img", 4097)):
        with (folder / name).open("wb") as file:
            file.truncate(size)
    (folder / "link").symlink_to("/etc")
    os.mkfifo(folder / "fifo")
    subprocess.run(["mkfs.ext4", "-q", "-F", str(folder / "disk.img")], check=True, capture_output=True)


@contextlib.contextmanager
def decoy(image: Path, *, loop: bool) -> Iterator[None]:
    """Create an image with a loop device that the driver must not touch; detach all devices of the test at the end."""
    image.write_bytes(b"precious" * 8192)
    if loop:
        subprocess.run(["losetup", "--find", str(image)], check=True)
    try:
        yield
    finally:
        for device in devices(image.parents[1]):
            subprocess.run(["losetup", "--detach", device], check=False)


@contextlib.contextmanager
def fuzzing(directory: Path, wrapper: tuple[str, ...], *, loop: bool) -> Iterator[Fuzz]:
    """Run a driver in its own mount namespace, with the files of `create_files`."""
    create_files(directory)
    flags = (f"--pool={directory}/second", "--purge-interval=3600")
    wrapper = (*wrapper, *DECOY, f"{directory}/outside/mounted")
    with decoy(directory / "outside" / "decoy.img", loop=loop), running(directory, *flags, wrapper=wrapper) as driver:
        fuzz = Fuzz(driver, random.Random(sweeps.SEED), loop=loop)  # noqa: S311 # cases, no secrets
        try:
            yield fuzz
            log = driver.log.read_text(encoding="utf-8")
            assert "Traceback" not in log
        finally:
            fuzz.close()


def _run(fuzz: Fuzz, calls: int) -> None:
    for number in range(calls):
        fuzz.step()
        if number % CHECK_EACH == 0:
            fuzz.check()
    fuzz.check()
    fuzz.delete_all()


@pytest.mark.process
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("wrapper", "calls"),
    [
        pytest.param(AS_ROOT, CALLS, marks=pytest.mark.needs("root", "loop"), id="root"),
        pytest.param(IN_A_USER_NAMESPACE, CALLS // 4, marks=pytest.mark.needs("userns"), id="user-namespace"),
    ],
)
def test_every_request_gets_an_allowed_code_and_no_other_effect(
    tmp_path: Path, wrapper: tuple[str, ...], calls: int, report_lines: list[str]
) -> None:
    """Checked are codes, messages, the data of all volumes, the mount table and files outside; all can be deleted."""
    with fuzzing(tmp_path, wrapper, loop=wrapper == AS_ROOT) as fuzz:
        _run(fuzz, sweeps.times(calls))
        answered = Counter(each.rpartition(" ")[2] for each in fuzz.counts.elements())
        line = ", ".join(f"{code} {count}" for code, count in sorted(answered.items()))
        report_lines.append(f"rpc fuzz: {sum(answered.values())} calls: {line}; slowest {fuzz.slowest}")


@pytest.mark.process
def test_no_registration_status_ends_the_registration(tmp_path: Path) -> None:
    """After any status, however often, the driver serves, registers again, and logs lines of limited length."""
    kubelet, rng = Kubelet(tmp_path), random.Random(sweeps.SEED)  # noqa: S311 # as above
    with running(tmp_path, *kubelet.flags) as driver:
        kubelet.until_served()
        for number in range(sweeps.times(50)):
            seen, registered = kubelet.seen(), number % 10 != 5
            kubelet.notify_status(registered=registered, error=rng.choice(TEXTS))
            kubelet.until_served(other_than=None if registered else seen)
        lines = driver.log.read_text(encoding="utf-8").splitlines()

    assert "Traceback" not in "".join(lines)
    assert max(len(line) for line in lines) < 4 * limits.MESSAGE_BYTES


def test_the_table_of_codes_names_only_existing_rpcs() -> None:
    """Every RPC in the table is in the protocol."""
    assert {path.rpartition("/")[2] for path in METHODS} >= set(CODES)
