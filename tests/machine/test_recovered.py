"""Tests of recovery, import and erasure of volumes without API objects."""

import json
from typing import cast

import pytest

from tests.machine.engine_process import CLAIMS, PODS, SETS, VOLUMES, EngineProcess, Json, stateful_set

pytestmark = pytest.mark.needs("root")


def test_recover_restores_the_volume_of_every_ordinal_from_the_disks(engine: EngineProcess) -> None:
    """New claims wait instead of getting empty volumes, and adopt their former volumes after one command."""
    engine.create(SETS, stateful_set())
    engine.ready_pods("web-0", "web-1")
    for name in ("web-0", "web-1"):
        engine.file(name).write_text(name, encoding="utf-8")
    before = engine.names(VOLUMES)
    assert engine.stop() == 0
    for part in engine.state.glob("engine.db*"):
        part.unlink()
    engine.start()
    engine.create(SETS, stateful_set())
    engine.until(lambda: engine.names(CLAIMS), "the first claim exists")
    engine.until(
        lambda: any(each["reason"] == "FormerVolumeBlocked" for each in engine.get("/api/v1/events")["items"]),
        "an Event has the reason why the claim waits",
    )

    listing = engine.mooring("recover", "-o", "json")
    assert listing.returncode == 0, listing.stderr
    recoveries = json.loads(listing.stdout)
    assert sorted(each["volume"] for each in recoveries) == before
    assert {each["result"] for each in recoveries} == {"can be restored"}
    assert engine.names(VOLUMES) == [], "listing changes nothing"
    done = engine.mooring("recover", "--from-cluster", recoveries[0]["cluster"])
    assert done.returncode == 0, done.stderr

    engine.ready_pods("web-0", "web-1")
    assert engine.names(VOLUMES) == before
    for name in ("web-0", "web-1"):
        assert engine.file(name).read_text(encoding="utf-8") == name
    again = engine.mooring("recover")
    assert (again.returncode, again.stdout) == (0, "")
    assert "nothing is to be recovered" in again.stderr
    unknown = engine.mooring("recover", "--from-cluster", "no-such")
    assert unknown.returncode == 1
    assert "no-such" in unknown.stderr


@pytest.mark.parametrize("first", ["import", "claim"])
def test_an_imported_directory_becomes_an_ordinals_volume(engine: EngineProcess, first: str) -> None:
    """The claim gets the imported directory and never an empty volume, whether it exists or is created later."""
    source = engine.state / "pool" / "import" / "old"
    source.mkdir(parents=True)
    (source / "token").write_text("data", encoding="utf-8")
    (source / "token").chmod(0o644)
    if first == "claim":
        spec = stateful_set()["spec"]["volumeClaimTemplates"][0]["spec"]
        meta = {"name": "www-web-0", "namespace": "default", "labels": {"app": "nginx"}}
        engine.create(CLAIMS, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec})

    arguments = ["import", str(source), "--claim", "www-web-0"]
    if first == "import":
        refused = engine.mooring(*arguments)
        assert (refused.returncode, "--class" in refused.stderr) == (1, True), refused.stderr
        arguments += ["--class", "mooring-directory", "--size", "16Mi"]
    dry_run = engine.mooring(*arguments, "--dry-run")
    assert dry_run.returncode == 0, dry_run.stderr
    assert (source / "token").exists(), "a dry run moves nothing"
    done = engine.mooring(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout == dry_run.stdout.replace(" (dry run)", "")
    assert engine.mooring(*arguments).returncode == 0 or first == "claim", (
        "repeating the import is no error while no claim has the volume"
    )

    engine.create(SETS, stateful_set())
    engine.ready_pods("web-0", "web-1")
    assert engine.file("web-0").read_text(encoding="utf-8") == "data"
    assert not engine.file("web-1").exists()
    volume = engine.get(f"{CLAIMS}/www-web-0")["spec"]["volumeName"]
    assert volume in done.stdout
    again = engine.mooring(*arguments)
    assert (again.returncode, "bound to volume" in again.stderr) == (1, True), again.stderr


def test_an_import_for_a_claim_without_an_ordinal_is_bound_too(engine: EngineProcess) -> None:
    """The import names the claim, so it gets the volume although its class adopts only for ordinals."""
    source = engine.state / "pool" / "import" / "old"
    source.mkdir(parents=True)
    arguments = ["import", "old", "--claim", "default/lone", "--class", "mooring-directory", "--size", "16Mi"]
    done = engine.mooring(*arguments)
    assert done.returncode == 0, done.stderr
    spec = stateful_set()["spec"]["volumeClaimTemplates"][0]["spec"]
    meta = {"name": "lone", "namespace": "default"}
    engine.create(CLAIMS, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec})
    engine.until(lambda: engine.get(f"{CLAIMS}/lone")["status"].get("phase") == "Bound", "the claim is bound")
    assert engine.get(f"{CLAIMS}/lone")["spec"]["volumeName"] in done.stdout


REFUSED: list[tuple[tuple[str, ...], int, str]] = [
    (("import", "/etc/passwd", "--claim", "c"), 2, "move it there"),
    (("import", "old", "--claim", "a/"), 2, "not of the form"),
    (("import", "old", "--claim", "c", "--size", "much"), 2, "not a quantity"),
    (
        ("import", "old", "--claim", "nowhere/c", "--class", "mooring-directory"),
        1,
        "namespace nowhere does not exist",
    ),
    (("import", "old", "--claim", "c", "--class", "none-such"), 1, "none-such does not exist"),
    (("import", "old", "--claim", "c", "--class", "mooring-scratch"), 1, "create the claim first"),
    (("import", "old", "--claim", "c", "--class", "mooring-directory", "--size", "1Mi"), 1, "no old to import"),
    (("import", "old", "--claim", "c", "--node", "n9"), 1, "node n9 has no driver"),
    (("recover", "--volume", "none-such"), 1, "none-such"),
]
"""Arguments, exit code, and a part of the message."""


def test_a_refused_command_reports_the_reason_in_one_line(engine: EngineProcess) -> None:
    """The command exits with a code and prints the reason with the next step, without a traceback."""
    for arguments, code, expected in REFUSED:
        done = engine.mooring(*arguments)
        assert (done.returncode, done.stdout) == (code, ""), done
        assert expected in done.stderr, done
        assert done.stderr.count("\n") == 1, done


def test_orphans_are_listed_explained_and_erased(engine: EngineProcess) -> None:
    """Erasing frees the reserved bytes at once; the data stays in the trash until it is restored or purged."""
    engine.create(SETS, stateful_set(replicas=1))
    engine.ready_pods("web-0")
    engine.delete(SETS + "/web")
    engine.until(lambda: engine.find(f"{PODS}/web-0") is None, "the pod is deleted")
    engine.delete(f"{CLAIMS}/www-web-0")
    (name,) = engine.names(VOLUMES)
    engine.until(lambda: engine.get(f"{VOLUMES}/{name}")["status"]["phase"] == "Released", "the claim is deleted")
    assert "erase-volume" in engine.mooring("volumes", "erase", name, "--yes", "-o", "json").stdout
    engine.delete(f"{VOLUMES}/{name}")
    engine.until(lambda: engine.names(VOLUMES) == [], "its PersistentVolume is deleted")

    (listed,) = json.loads(engine.mooring("volumes", "-o", "json").stdout)
    assert (listed["volume"], listed["state"], listed["claim"]) == (name, "orphan", "www-web-0")
    for arguments in (
        ("history", "web-0"),
        ("explain", "volume", name),
        ("explain", "claim", "www-web-0"),
        ("recover",),
    ):
        explained = engine.mooring(*arguments)
        assert f"mooring volumes erase {name}" in explained.stdout + explained.stderr, arguments
    assert _pool(engine)["allocatedBytes"] == 16 << 20

    dry = engine.mooring("volumes", "erase", name, "--dry-run")
    assert (dry.returncode, _pool(engine)["allocatedBytes"]) == (0, 16 << 20), dry.stderr
    assert engine.mooring("volumes", "erase", name, "--yes").returncode == 0
    erased = _pool(engine)
    assert (erased["allocatedBytes"], erased["volumes"]) == (0, 0)

    assert engine.mooring("trash", "restore", name).returncode == 0
    assert engine.names(VOLUMES) == [name]
    engine.delete(f"{VOLUMES}/{name}")
    assert engine.mooring("volumes", "erase", name, "--yes").returncode == 0
    assert engine.mooring("trash", "empty", "--all", "--yes").returncode == 0
    assert json.loads(engine.mooring("trash", "list", "-o", "json").stdout) == []
    assert not any((engine.state / "pool" / "volumes").iterdir())


def _pool(engine: EngineProcess) -> Json:
    (found,) = json.loads(engine.mooring("pools", "-o", "json").stdout)
    return cast("Json", found)
