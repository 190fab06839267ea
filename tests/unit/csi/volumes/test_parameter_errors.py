"""The error of a StorageClass parameter names the parameter, its value and the allowed values."""

from collections.abc import Callable, Mapping

import pytest

from csi.errors import InvalidArgument
from csi.volumes.mkfs_options import refused_option
from csi.volumes.requests import FS_TYPE, MAX_RETENTION, Parameters, mutable_parameters
from provisioner.model.errors import InvalidParameterError
from provisioner.model.storage_class import ClassParameters

LOOP = {"backend": "loop"}

WRONG: list[tuple[Mapping[str, str], str, str]] = [
    # the parameters, the one that is wrong, and a part of what is allowed
    ({"backend": "zfs"}, "backend", "directory, loop"),
    (LOOP | {"provisioning": "fat"}, "provisioning", "thin, thick"),
    ({"provisioning": "thick"}, "provisioning", "backend: loop"),
    ({"mkfsOptions": "-m 1"}, "mkfsOptions", "backend: loop"),
    ({FS_TYPE: "ext4"}, FS_TYPE, "backend: loop"),
    ({"trashRetention": "abc"}, "trashRetention", "24h"),
    ({"trashRetention": ""}, "trashRetention", "24h"),
    ({"trashRetention": "1.5h"}, "trashRetention", "24h"),
    ({"trashRetention": "-1h"}, "trashRetention", "24h"),
]


@pytest.mark.parametrize(
    ("parse", "refusal"), [(Parameters.parse, InvalidArgument), (ClassParameters.parse, InvalidParameterError)]
)
@pytest.mark.parametrize(("parameters", "wrong", "allowed"), WRONG)
def test_the_message_names_parameter_value_and_what_is_allowed(
    parse: Callable[[Mapping[str, str]], object],
    refusal: type[Exception],
    parameters: Mapping[str, str],
    wrong: str,
    allowed: str,
) -> None:
    """The author of the class finds the line."""
    with pytest.raises(refusal) as refused:
        parse(parameters)
    message = str(refused.value)

    assert f"parameter {wrong}: {parameters[wrong]!r}" in message
    assert allowed in message


def test_errors_that_only_the_driver_finds_name_the_parameter_and_its_value() -> None:
    """The longest retention, also of a VolumeAttributesClass, and options of mkfs; a long value is cut."""
    most = f"{MAX_RETENTION // 3600}h"
    for value in ("999999999h", "99999999999999999999h", "876001h"):
        for check in (Parameters.parse, mutable_parameters):
            with pytest.raises(InvalidArgument, match=f"parameter trashRetention: '{value}' is too long; .*{most}"):
                check({"trashRetention": value})
    with pytest.raises(InvalidArgument, match=r"parameter trashRetention: 'x{60}…' is not a duration"):
        Parameters.parse({"trashRetention": "x" * 1000})

    assert "-Z is not an option for ext4; valid are -b" in refused_option("ext4", ["-Z"])
    assert "'-m 1' has no effect on a raw volume" in refused_option("", ["-m", "1"])
