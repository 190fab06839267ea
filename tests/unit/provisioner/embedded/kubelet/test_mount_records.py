"""Tests of the mount records of the engine's kubelet."""

from pathlib import Path

from provisioner.embedded.kubelet.mount_records import MountRecord, PodRecord, Records


def _record(uid: str, *volumes: str) -> PodRecord:
    mounts = tuple(MountRecord(volume="www", volume_object=each, handle=f"pool.{each}") for each in volumes)
    return PodRecord(namespace="default", pod="web-0", uid=uid, mounts=mounts)


def test_a_record_survives_the_process(tmp_path: Path) -> None:
    """A record that was written before a crash exists after it."""
    Records(tmp_path).put(_record("u1", "pv-a"))
    assert [_record("u1", "pv-a")] == list(Records(tmp_path))


def test_a_removed_record_stays_removed(tmp_path: Path) -> None:
    """The record is also removed from the disk, and removing it again is no error."""
    records = Records(tmp_path)
    records.put(_record("u1", "pv-a"))
    records.forget("u1")
    records.forget("u1")
    assert [] == list(Records(tmp_path))


def test_pods_of_one_name_have_separate_records(tmp_path: Path) -> None:
    """A recreated pod of the same name does not hide the mounts of the old one."""
    records = Records(tmp_path)
    records.put(_record("u1", "pv-a"))
    records.put(_record("u2", "pv-b"))
    assert {"u1", "u2"} == {each.uid for each in records.of_pod("default", "web-0")}
    assert ["u1"] == [each.uid for each in records.of_volume("pv-a")]


def test_an_unreadable_record_affects_no_other(tmp_path: Path) -> None:
    """A damaged file is logged and skipped."""
    Records(tmp_path).put(_record("u1", "pv-a"))
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    assert ["u1"] == [each.uid for each in Records(tmp_path)]
