"""
Whatever is sent to the driver: every answer has a code that its RPC may have, and nothing happens that was not asked for.

Valid calls on a few volumes are mixed with requests that have fields missing, odd or of another object. Each example
prints MOORING_TEST_SEED at the end of the run; the number of calls is a slice of the whole sweep (see docs/testing.md).
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
from tests.property.rpc_model import Model, changes, snapshot
from tests.property.rpc_requests import METHODS, TEXTS, Material, Mutator, broken_bytes, is_request, new_request
from tests.property.rpc_valid import IMPORTS, MIB, MOST_VOLUMES, Valid
from tests.unit.csi.services.driver import Driver, running
from tests.unit.csi.services.kubelet import Kubelet

C: Final = csi_pb2
SECONDS: Final = 60.0
"""How long one call may take, on a busy machine."""

CALLS: Final = 10_000
"""Of a whole sweep."""

CHECK_EACH: Final = 25
MOST_SHOWN: Final = 20_000
POOL_BYTES: Final = 1 << 30

AS_ROOT: Final = ("unshare", "--mount", "--propagation", "private", "--")
IN_A_USER_NAMESPACE: Final = ("unshare", "--user", "--map-root-user", "--mount", "--")

DECOY: Final = ("sh", "-c", 'mount -t tmpfs decoy "$0" && exec "$@"')
"""Mounts something that is nobody's business, and goes on as the driver."""

_ALWAYS: Final = {"OK", "INVALID_ARGUMENT"}
_ONE_VOLUME: Final = _ALWAYS | {"NOT_FOUND", "ABORTED"}
CODES: Final[dict[str, set[str]]] = {
    "GetPluginInfo": {"OK"},
    "GetPluginCapabilities": {"OK"},
    "Probe": {"OK"},
    "ControllerGetCapabilities": {"OK"},
    "NodeGetCapabilities": {"OK"},
    "NodeGetInfo": {"OK"},
    "NodeGetStorageHealth": {"OK"},
    "ListPools": {"OK"},
    "CreateVolume": _ALWAYS
    | {"ALREADY_EXISTS", "RESOURCE_EXHAUSTED", "OUT_OF_RANGE", "ABORTED", "UNAVAILABLE", "FAILED_PRECONDITION"},
    "DeleteVolume": _ALWAYS | {"FAILED_PRECONDITION", "ABORTED"},
    "ValidateVolumeCapabilities": _ONE_VOLUME,
    "ListVolumes": _ALWAYS | {"ABORTED"},
    "ControllerListVolumeHealth": _ALWAYS | {"ABORTED"},
    "ListManifests": _ALWAYS | {"ABORTED"},
    "ListTrash": _ALWAYS | {"ABORTED"},
    "ControllerGetVolume": _ONE_VOLUME,
    "ControllerGetVolumeHealth": _ONE_VOLUME,
    "NodeGetVolumeHealth": _ONE_VOLUME,
    "GetCapacity": _ALWAYS,
    "ControllerExpandVolume": _ONE_VOLUME
    | {"FAILED_PRECONDITION", "OUT_OF_RANGE", "RESOURCE_EXHAUSTED", "UNAVAILABLE"},
    "ControllerModifyVolume": _ONE_VOLUME,
    "NodeStageVolume": _ONE_VOLUME | {"FAILED_PRECONDITION", "ALREADY_EXISTS", "RESOURCE_EXHAUSTED"},
    "NodeUnstageVolume": _ONE_VOLUME | {"FAILED_PRECONDITION"},
    "NodePublishVolume": _ONE_VOLUME | {"FAILED_PRECONDITION", "ALREADY_EXISTS", "RESOURCE_EXHAUSTED"},
    "NodeUnpublishVolume": _ONE_VOLUME | {"FAILED_PRECONDITION"},
    "NodeGetVolumeStats": _ONE_VOLUME,
    "NodeExpandVolume": _ONE_VOLUME | {"FAILED_PRECONDITION", "OUT_OF_RANGE"},
    "GetUse": _ONE_VOLUME,
    "RecordHolder": _ONE_VOLUME,
    "Undelete": _ONE_VOLUME | {"ALREADY_EXISTS", "RESOURCE_EXHAUSTED", "OUT_OF_RANGE", "UNAVAILABLE"},
    "Import": _ONE_VOLUME
    | {"ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE", "RESOURCE_EXHAUSTED", "UNAVAILABLE"},
    "Purge": _ALWAYS | {"ABORTED"},
}
"""What the CSI specification and docs allow, by RPC; any other RPC is not served and answers UNIMPLEMENTED."""

_FULL_OF_CHOICES: Final = {
    "CreateVolume", "NodeStageVolume", "NodeUnstageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeExpandVolume",
    "NodeGetVolumeStats",
}  # fmt: skip


def _weight(path: str) -> int:
    """How often to change a request of an RPC: most often where the most can go wrong."""
    name = path.rpartition("/")[2]
    if name in _FULL_OF_CHOICES:
        return 12
    return 4 if name in CODES and METHODS[path].input_type.fields else 1


WEIGHTS: Final = {path: _weight(path) for path in METHODS}

UNKNOWN_BYTES: Final = {"UNKNOWN"}
"""What bytes get that are no protobuf: gRPC itself refuses them."""


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
        self.valid = Valid(self.model, rng, driver.home, loop=loop)
        self._slowest = ("", 0.0)
        self._recent: deque[str] = deque(maxlen=2 * CHECK_EACH)

    def step(self) -> None:
        """One call: a valid one, one that has been changed, or bytes that are none."""
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
        """A step in a volume's life, or a question, answered alike the second time."""
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
        """Also of volumes that are gone, and places that are none of a caller's."""
        home, volumes = self._driver.home, list(self.model.volumes.values())
        in_use = [path for each in volumes for path in (each.staged, *sorted(each.targets)) if path]
        homes = [str(each.home) for each in volumes[:3]]
        pools = [str(each) for each in self._pools.values()]
        odd = [
            *(str(path) for path in sorted(self._outside.rglob("*"))[:40]),
            *(f"{self._outside}/{name}" for name in ("new", "new\nline", "new \\040", "a" * 255, "a" * 256, "é", ".")),
            *(f"{home}/staging/v{number}" for number in range(MOST_VOLUMES)),
            *pools, *(f"{each}/{name}" for each in pools for name in ("pool.json", "volumes", "volumes/new", "trash", "x/y", "import")),
            *homes, *(f"{each}/{name}" for each in homes for name in ("data", "data/x", "data/canary", "image", "manifest.json")),
            *in_use, *(f"{path}/{name}" for path in in_use for name in ("below", "canary", ".", "/")),
            *(f"/{path}" for path in in_use), *(path.replace("/", "//") for path in in_use), f"{self._outside}/./empty",
            f"{home}", f"{home}/csi.sock", f"{home}/node-records", f"{home}/node-records/x", f"{home}/../x", "relative/path", "..", "",
            f"/proc/{os.getpid()}/fd/0", "/proc/self/mooring", "/proc/mooring", "/proc/self/fd/0", "/proc/self/root",
            "/proc/self/ns/mnt", "/proc/self/attr/x", "/sys/mooring", "/dev/null", "/dev/zero", "/dev/fd/0", f"/proc/{self._driver.pid}/root{home}/outside/new",
            f"{home}/" + "/".join(["a" * 200] * 20), f"{home}/" + "/".join(["a" * 200] * 30), f"{self._outside}/x\0y", "\0", f"unix://{home}", f"{home}/\u202e",
        ]  # fmt: skip
        handles = [
            *self.model.volumes,
            *(each.handle for each in self.model.trash),
            *(f"{uuid}.v{self._rng.randrange(9)}" for uuid in self._pools),
        ]
        names = [*(f"v{number}" for number in range(MOST_VOLUMES)), *IMPORTS, "..", "link", "fifo", "local", "second"]
        return Material(handles, names, odd)

    def call(self, path: str, request: Message) -> str:
        """One call, and what every answer must be like; its code."""
        rpc, method = path.rpartition("/")[2], METHODS[path]
        answers = GetMessageClass(method.output_type)
        make: Any = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        called = make(
            path, request_serializer=type(request).SerializeToString, response_deserializer=answers.FromString
        )
        self.model.asked(rpc, request)
        size = request.ByteSize()
        shown = f"{rpc}({str(request)[:600]!r})" if size < MOST_SHOWN else f"{rpc}({size} bytes)"
        started = time.monotonic()
        code, said, answer = "OK", "", None
        try:
            answer = called(request, timeout=SECONDS)
            answer = list(answer) if method.server_streaming else answer
        except grpc.RpcError as error:
            code, said = error.code().name, error.details() or ""
        self._slowest = max(self._slowest, (shown, time.monotonic() - started), key=lambda each: each[1])
        self.counts[f"{rpc} {code}"] += 1
        self._recent.append(f"{shown[:400]}: {code} {said[:200]}")
        assert code in CODES.get(rpc, {"UNIMPLEMENTED"}), f"{shown}: {code}: {said}"
        assert code == "OK" or (said and sent_bytes(said) <= limits.MESSAGE_BYTES and said.isprintable()), (
            f"{shown}: {code}: {said!r}"
        )
        assert "Traceback" not in said, shown
        if code == "OK":
            try:
                self.model.answered(rpc, request, answer)
            except Exception as error:
                raise AssertionError(f"{shown} was answered with OK: {error!r}") from error
        return code

    def _bytes(self) -> None:
        """Bytes in place of a request."""
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
        """Assert what must be true between any two calls; a failure names the last ones."""
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

    def take_all_away(self) -> None:
        """Every volume can be unpublished, unstaged, deleted and purged, and then nothing of it is left."""
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
        """Of the channel."""
        self._channel.close()

    @property
    def slowest(self) -> str:
        """The call that took longest."""
        return f"{self._slowest[0].partition('(')[0]} {self._slowest[1]:.2f} s"


def devices(home: Path) -> dict[str, Path]:
    """Loop devices over images below the directory, and those images, also ones that are removed."""
    found = {}
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            path = Path(file.read_text(encoding="utf-8").strip())
            if path.is_relative_to(home):
                found[f"/dev/{file.parent.parent.name}"] = path
    return found


def furnish(home: Path) -> None:
    """A tree that is nobody's business, things to import, and two pools."""
    outside = home / "outside"
    for name in ("empty", "empty2", "full/deep", "odd name\n", "mounted"):
        (outside / name).mkdir(parents=True)
    (outside / "full" / "file").write_text("precious", encoding="utf-8")
    (outside / "file").write_text("precious", encoding="utf-8")
    (outside / "nothing").touch()
    (outside / "to-file").symlink_to("file")
    (outside / "to-empty").symlink_to("empty")
    (outside / "to-full").symlink_to(outside / "full")
    (outside / "to-pool").symlink_to(home / "pool")
    (outside / "dangling").symlink_to("gone")
    (outside / "circle").symlink_to("circle")
    os.mkfifo(outside / "fifo")
    for name in ("pool", "second"):
        make_pool(home / name, name="local" if name == "pool" else name, capacity_bytes=POOL_BYTES, known={})
    folder = home / "pool" / "import"
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "theirs").write_text("imported", encoding="utf-8")
    for name, size in (("disk.img", 16 * MIB), ("odd.img", 4097)):
        with (folder / name).open("wb") as file:
            file.truncate(size)
    (folder / "link").symlink_to("/etc")
    os.mkfifo(folder / "fifo")
    subprocess.run(["mkfs.ext4", "-q", "-F", str(folder / "disk.img")], check=True, capture_output=True)


@contextlib.contextmanager
def decoy(image: Path, *, loop: bool) -> Iterator[None]:
    """An image that is nobody's business, with a loop device over it; at the end no device of the test is left."""
    image.write_bytes(b"precious" * 8192)
    if loop:
        subprocess.run(["losetup", "--find", str(image)], check=True)
    try:
        yield
    finally:
        for device in devices(image.parents[1]):
            subprocess.run(["losetup", "--detach", device], check=False)


@contextlib.contextmanager
def fuzzing(home: Path, wrapper: tuple[str, ...], *, loop: bool) -> Iterator[Fuzz]:
    """A driver in a mount namespace of its own, on a furnished directory."""
    furnish(home)
    flags = (f"--pool={home}/second", "--purge-interval=3600")
    wrapper = (*wrapper, *DECOY, f"{home}/outside/mounted")
    with decoy(home / "outside" / "decoy.img", loop=loop), running(home, *flags, wrapper=wrapper) as driver:
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
    fuzz.take_all_away()


@pytest.mark.process
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("wrapper", "calls"),
    [
        pytest.param(AS_ROOT, CALLS, marks=pytest.mark.needs("root", "loop"), id="root"),
        pytest.param(IN_A_USER_NAMESPACE, CALLS // 4, marks=pytest.mark.needs("userns"), id="user-namespace"),
    ],
)
def test_no_request_is_answered_or_acted_upon_as_none_may_be(
    tmp_path: Path, wrapper: tuple[str, ...], calls: int, report_lines: list[str]
) -> None:
    """Codes by RPC, messages, bytes of all volumes, the mount table, files outside; and all can be taken away."""
    with fuzzing(tmp_path, wrapper, loop=wrapper == AS_ROOT) as fuzz:
        _run(fuzz, sweeps.times(calls))
        answered = Counter(each.rpartition(" ")[2] for each in fuzz.counts.elements())
        line = ", ".join(f"{code} {count}" for code, count in sorted(answered.items()))
        report_lines.append(f"rpc fuzz: {sum(answered.values())} calls: {line}; slowest {fuzz.slowest}")


@pytest.mark.process
def test_no_word_of_kubelet_ends_the_registration(tmp_path: Path) -> None:
    """Whatever kubelet says of the driver, and how often: it serves, is offered again, and logs what can be read."""
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


def test_every_rpc_has_its_codes() -> None:
    """The table names no RPC that is not in the protocol."""
    assert {path.rpartition("/")[2] for path in METHODS} >= set(CODES)
