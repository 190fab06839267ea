"""Tests that the engine and a cluster have the same StorageClasses and the same CSIDriver."""

import yaml

from provisioner.binding.decide import class_problem
from provisioner.embedded.bootstrap import shipped_classes
from provisioner.embedded.kubelet.node_object import objects
from provisioner.model.kinds import Json
from provisioner.model.storage_class import StorageClass
from tests.conftest import ROOT

SHIPPED = {
    # name: (backend, adopt, reclaim policy)
    "mooring-directory": ("directory", "Ordinal", "Retain"),
    "mooring-loop": ("loop", "Ordinal", "Retain"),
    "mooring-scratch": ("directory", "Never", "Delete"),
}


def test_the_shipped_classes_match_the_documentation() -> None:
    """Names, backends, adoption and reclaim policy are an API; each class is valid."""
    classes = [StorageClass.of(each) for each in shipped_classes()]

    assert {each.name: (each.parameters["backend"], each.adopts, each.reclaim_policy) for each in classes} == SHIPPED
    assert [class_problem(each) for each in classes] == [None, None, None]
    assert all(each.waits_for_consumer and each.allows_expansion for each in classes)
    assert [each.name for each in classes if each.is_default] == ["mooring-directory"]


def test_a_clusters_classes_are_the_engines_with_no_default() -> None:
    """The two files differ only in the annotation of the default class."""
    cluster = list(yaml.safe_load_all((ROOT / "deploy" / "base" / "storageclasses.yaml").read_text(encoding="utf-8")))

    assert [_plain(each) for each in shipped_classes()] == cluster


def test_a_clusters_csidriver_is_the_engines_but_for_capacity_and_groups() -> None:
    """Only a cluster has CSIStorageCapacity objects, and containers to which fsGroup applies."""
    cluster = yaml.safe_load((ROOT / "deploy" / "base" / "csidriver.yaml").read_text(encoding="utf-8"))
    (engines,) = [each for each in objects("n") if each["kind"] == "CSIDriver"]

    assert engines["metadata"] == cluster["metadata"]
    differ = {key for key in engines["spec"] if engines["spec"][key] != cluster["spec"].get(key)}
    assert differ == {"storageCapacity", "fsGroupPolicy"}


def _plain(obj: Json) -> Json:
    metadata = {key: value for key, value in obj["metadata"].items() if key != "annotations"}
    return {**obj, "metadata": metadata}
