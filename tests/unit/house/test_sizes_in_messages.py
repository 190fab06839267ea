"""One form of sizes in all messages, of the driver and of the control plane."""

from hypothesis import given
from hypothesis import strategies as st

from csi import units
from provisioner.kube.events import without_amounts
from provisioner.model.quantity import Quantity

BYTES = st.one_of(
    st.integers(0, (1 << 63) - 1),
    st.builds(lambda unit, count, off: max(0, (count << unit) + off), st.sampled_from([10, 20, 30, 40]), st.integers(1, 4096), st.integers(-2, 2)),
)  # fmt: skip


@given(BYTES, st.booleans())
def test_the_driver_and_the_control_plane_write_a_size_alike(count: int, up: bool) -> None:
    """To a hundredth of the largest unit, on the side that was asked for."""
    text = units.readable(count, up=up)
    read = Quantity.parse(text).value

    assert text == Quantity.of_bytes(count).readable(up=up)
    assert (read >= count) if up else (read <= count)
    assert abs(read - count) * 100 <= count
    assert len(text) <= len("1023.99Ki")


@given(BYTES, BYTES)
def test_what_is_asked_for_and_does_not_fit_is_never_written_as_what_there_is(one: int, other: int) -> None:
    """However little is missing: "5Gi are left, and 5Gi are asked for" would be a riddle."""
    there, wanted = sorted((one, other))
    if there < wanted:
        assert Quantity.parse(units.readable(there)) < Quantity.parse(units.readable(wanted, up=True))


@given(BYTES, BYTES)
def test_messages_that_differ_in_sizes_alone_are_one_event(one: int, other: int) -> None:
    """Whatever the sizes, also where nothing is left."""
    first, second = (f"pool p can promise {units.readable(each)} more, of {units.exact(each)}" for each in (one, other))

    assert without_amounts(first) == without_amounts(second)


def test_sizes_as_people_write_them() -> None:
    """Whole units have no decimals, and less than 1Ki is written as it is."""
    shown = {0: "0", 1023: "1023", 1024: "1Ki", 1610612736: "1.5Gi", 383774720: "365.99Mi", (1 << 30) - 1: "1023.99Mi"}

    assert {count: units.readable(count) for count in shown} == shown
    assert units.readable((1 << 30) - 1, up=True) == "1Gi"
    assert units.exact(1536) == "1.5Ki (1536 bytes)"
