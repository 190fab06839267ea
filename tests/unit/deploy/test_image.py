"""The content of the image. tests/cluster builds and runs it."""

import ast
import re

from csi.host.commands import PACKAGES
from tests.conftest import ROOT

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
BUILDER = (ROOT / "hack" / "image").read_text(encoding="utf-8")
PROGRAM = re.compile(
    r"mkfs\.\w+|fsck\.\w+|blkid|blockdev|btrfs|btrfstune|e2fsck|resize2fs|tune2fs|losetup|u?mount|xfs_\w+"
)


def _first_words() -> set[str]:
    """Return the programs that start an argv list in the driver's code."""
    lists = (
        node
        for path in (ROOT / "csi").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.List) and node.elts and isinstance(node.elts[0], ast.Constant)
    )
    words = {str(node.elts[0].value) for node in lists if isinstance(node.elts[0], ast.Constant)}
    return {word for word in words if PROGRAM.fullmatch(word)}


def test_every_program_that_the_driver_runs_is_in_its_list() -> None:
    """The build checks that the programs of the list exist."""
    assert {"blkid", "mkfs.ext4", "mkfs.xfs", "resize2fs"} <= _first_words() <= PACKAGES.keys()
    assert "from csi.host.commands import PACKAGES" in DOCKERFILE


def test_every_package_of_the_list_is_installed() -> None:
    """The Dockerfile installs them if the base lacks them, and hack/image adds them to its base."""
    (installs,) = re.findall(r"apt-get install -y --no-install-recommends ([\w .-]+)", DOCKERFILE)
    (includes,) = re.findall(r'packages="([\w.,-]+)"', BUILDER)

    assert {*PACKAGES.values()} == {*installs.split()}
    assert {*PACKAGES.values()} <= {*includes.split(",")}


def test_both_bases_have_the_python_that_the_wheels_are_for() -> None:
    """Another version would not match the wheels."""
    (base,) = re.findall(r"^ARG BASE=\S+/python:(3\.\d+)\.\d+-slim-(\w+)$", DOCKERFILE, re.MULTILINE)
    (built,) = re.findall(r"^suite=(\w+) python=(3\.\d+)\b", BUILDER, re.MULTILINE)

    assert base == (built[1], built[0])


def test_it_runs_as_a_numeric_user_without_root() -> None:
    """A numeric user can be verified by kubelet for runAsNonRoot; the final stage has only the result of the build."""
    last = DOCKERFILE.rpartition("FROM scratch")[2]

    assert re.findall(r"^USER (\d+):\d+$", last, re.MULTILINE) == ["65532"]
    assert 'ENTRYPOINT ["mooring"]' in last
    assert re.findall(r"^(?:COPY|ADD|RUN) .*$", last, re.MULTILINE) == ["COPY --from=system / /"]


def test_the_builder_gets_wheels_and_nothing_else() -> None:
    """The image cannot get keys, caches or uncommitted files of the checkout."""
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()

    assert [rule for rule in rules if rule and not rule.startswith("#")] == ["*", "!dist/wheels"]
    assert re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.MULTILINE) == ["dist/wheels"]
