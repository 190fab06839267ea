"""The driver and the control plane write sizes in the same format."""

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
    """Sizes are rounded to a hundredth of the largest unit, up or down as requested."""
    text = units.readable(count, up=up)
    read = Quantity.parse(text).value

    assert text == Quantity.of_bytes(count).readable(up=up)
    assert (read >= count) if up else (read <= count)
    assert abs(read - count) * 100 <= count
    assert len(text) <= len("1023.99Ki")


@given(BYTES, BYTES)
def test_a_request_that_does_not_fit_is_never_written_like_the_available_size(one: int, other: int) -> None:
    """Also for small differences: "5Gi are left, and 5Gi are requested" would be contradictory."""
    available, requested = sorted((one, other))
    if available < requested:
        assert Quantity.parse(units.readable(available)) < Quantity.parse(units.readable(requested, up=True))


@given(BYTES, BYTES)
def test_messages_that_differ_in_sizes_alone_are_one_event(one: int, other: int) -> None:
    """This holds for all sizes, including 0."""
    first, second = (
        f"pool p can allocate {units.readable(each)} more, of {units.exact(each)}" for each in (one, other)
    )

    assert without_amounts(first) == without_amounts(second)


def test_sizes_are_written_in_the_largest_unit() -> None:
    """Whole units have no decimals, and sizes below 1Ki have no unit."""
    shown = {0: "0", 1023: "1023", 1024: "1Ki", 1610612736: "1.5Gi", 383774720: "365.99Mi", (1 << 30) - 1: "1023.99Mi"}

    assert {count: units.readable(count) for count in shown} == shown
    assert units.readable((1 << 30) - 1, up=True) == "1Gi"
    assert units.exact(1536) == "1.5Ki (1536 bytes)"
