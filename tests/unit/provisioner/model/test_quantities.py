"""Quantities are read, compared and written exactly as by Kubernetes."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.quantity import InvalidQuantityError, Quantity

GOLDEN: dict[str, tuple[str, int | Fraction]] = {
    # text: (canonical form, exact value); from k8s.io/apimachinery v0.37.2
    "1Gi": ("1Gi", 2**30),
    "0.5Gi": ("512Mi", 2**29),
    "0.1Gi": ("107374182400m", Fraction(1073741824, 10)),
    "1024Ki": ("1Mi", 2**20),
    "1000Ki": ("1000Ki", 1024000),
    "1023": ("1023", 1023),
    "1000": ("1k", 1000),
    "1500m": ("1500m", Fraction(3, 2)),
    "1.5G": ("1500M", 1500000000),
    "1e3": ("1e3", 1000),
    "1E3": ("1e3", 1000),
    "12E": ("12E", 12 * 10**18),
    "800E": ("800E", 800 * 10**18),
    "1E": ("1E", 10**18),
    "9Ei": (str(2**63 - 1), 2**63 - 1),
    "0": ("0", 0),
    "-0": ("0", 0),
    "0Gi": ("0", 0),
    "00100": ("100", 100),
    ".5": ("500m", Fraction(1, 2)),
    "1.": ("1", 1),
    "+1Gi": ("1Gi", 2**30),
    "-1Gi": ("-1Gi", -(2**30)),
    "1.1n": ("2n", Fraction(2, 10**9)),
    "-1.1n": ("-2n", Fraction(-2, 10**9)),
    "0.5Ki": ("512", 512),
    "0.0001Ki": ("102400u", Fraction(1024, 10000)),
    "12e-10": ("2e-9", Fraction(2, 10**9)),
    "Gi": ("0", 0),
    "e-9": ("0", 0),
    "-": ("0", 0),
}

REFUSED = ["", " 1Gi", "1Gi ", "1_000", "NaN", "Infinity", "\uff11Gi", "1e", "1Kib", "1ki", "1K", "--1", "1..2", "0x10"]
REFUSED += ["1Ei.", "1Mi5", "1e3Gi", "Pi", "Ei", "E-10", "five", "1 Gi", "1e99999999", "9" * 5000, f"0.{'1' * 5000}Gi"]

SUFFIXES = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "e3", "E-3", "e+2"]


@pytest.mark.parametrize("written", GOLDEN)
def test_a_valid_quantity_has_the_value_and_canonical_form_of_kubernetes(written: str) -> None:
    """The expected values are from upstream's parser."""
    canonical, value = GOLDEN[written]

    quantity = Quantity.parse(written)

    assert Fraction(value) == quantity.value
    assert canonical == str(quantity)


@pytest.mark.parametrize("written", [*REFUSED, None, True, [], {}])
def test_a_text_that_kubernetes_refuses_is_refused_with_valid_examples(written: object) -> None:
    """An invalid size must not be read as a valid one."""
    with pytest.raises(InvalidQuantityError, match="write for example"):
        Quantity.parse(written)


@given(st.integers(0, 10**20), st.sampled_from(SUFFIXES))
def test_writing_and_reading_again_returns_the_same_value(number: int, suffix: str) -> None:
    """The canonical form of a quantity is a quantity of the same value."""
    quantity = Quantity.parse(f"{number}{suffix}")

    if quantity.value < 10**21:  # upstream's canonical form is wrong for larger values
        assert quantity == Quantity.parse(str(quantity))


@given(st.lists(st.tuples(st.integers(0, 10**12), st.sampled_from(SUFFIXES)), min_size=2, max_size=5))
def test_order_is_that_of_exact_numbers(written: list[tuple[int, str]]) -> None:
    """Rounding never makes a smaller volume equal to a larger request."""
    quantities = [Quantity.parse(f"{number}{suffix}") for number, suffix in written]

    assert [each.value for each in sorted(quantities)] == sorted(each.value for each in quantities)


@given(st.integers(0, 10**15), st.sampled_from(["n", "u", "m", ""]))
def test_whole_bytes_are_rounded_up(number: int, suffix: str) -> None:
    """A claim for a fraction of a byte gets the whole byte."""
    quantity = Quantity.parse(f"{number}{suffix}")

    assert quantity.ceil_bytes - 1 < quantity.value <= quantity.ceil_bytes
