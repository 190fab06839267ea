"""The size and the id of a volume: pure rules."""

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import given
from hypothesis import strategies as st

from csi.errors import Aborted, InvalidArgument, OutOfRange
from csi.volumes import paging
from csi.volumes.paging import page
from csi.volumes.sizes import BLOCK, compatible, exact_size
from csi.volumes.volume_ids import Handle, id_of, parse_handle

POOL = "11111111-1111-1111-1111-111111111111"

SIZES: dict[tuple[int, int, int], int | type[Exception]] = {
    # (required, limit, minimum): size, or the error
    (4096, 0, 0): 4096,
    (4097, 0, 0): 8192,
    (4097, 4097, 0): 4097,
    (4097, 8192, 0): 8192,
    (4097, 8000, 0): 4097,
    (0, 0, 0): 1 << 30,
    (0, 4096, 0): 4096,
    (0, 5000, 4096): 5000,
    (1, 0, 0): 4096,
    (1 << 20, 0, 2 << 20): OutOfRange,
    (0, 1 << 20, 2 << 20): OutOfRange,
    ((1 << 60) + 1, 0, 0): OutOfRange,
    (2, 1, 0): InvalidArgument,
    (-1, 0, 0): InvalidArgument,
    (0, -1, 0): InvalidArgument,
}


@pytest.mark.parametrize("asked", SIZES)
def test_the_size_is_the_requested_one(asked: tuple[int, int, int]) -> None:
    """It is rounded up to whole blocks within the limit, otherwise exactly the required bytes."""
    required, limit, minimum = asked
    expected = SIZES[asked]
    if isinstance(expected, int):
        assert expected == exact_size(required=required, limit=limit, minimum=minimum)
    else:
        with pytest.raises(expected):
            exact_size(required=required, limit=limit, minimum=minimum)


@given(st.integers(0, 1 << 50), st.integers(0, 1 << 50))
def test_a_size_is_always_within_its_range(required: int, limit: int) -> None:
    """So the same request finds the volume compatible: retries are idempotent."""
    try:
        size = exact_size(required=required, limit=limit, minimum=BLOCK)
    except (OutOfRange, InvalidArgument):
        return

    assert compatible(size, required=required, limit=limit)


@given(st.text(min_size=1, max_size=128))
def test_an_id_is_always_a_unique_plain_file_name(name: str) -> None:
    """No name can become a path, and the same name always has the same id."""
    volume_id = id_of(name)
    handle = Handle(POOL, volume_id)

    assert volume_id == id_of(name)
    assert parse_handle(str(handle)) == handle
    assert len(str(handle)) <= 128
    assert not {"/", ".", "\0"} & set(volume_id)


NO_HANDLES = [
    "",
    ".",
    "..",
    "a",
    "../../etc",
    f"{POOL}.",
    f"{POOL}.a/b",
    f"{POOL}.A",
    f"{POOL[:-1]}g.a",
    "x.y",
    "a" * 200,
]


@pytest.mark.parametrize("text", NO_HANDLES)
def test_an_invalid_handle_names_no_volume(text: str) -> None:
    """It is a missing volume, not an error: csi-sanity and other callers send any text."""
    assert parse_handle(text) is None


def _shown(value: str) -> StringValue:
    return StringValue(value=value)


@given(st.lists(st.text("abc", min_size=1, max_size=3), unique=True), st.integers(1, 5), st.data())
def test_pages_together_are_the_list_even_while_it_changes(items: list[str], size: int, data: st.DataObject) -> None:
    """An entry that exists all the time is listed once, also if others change between two pages."""
    items.sort()
    stays, token = set(items), ""
    seen: list[str] = []
    while True:
        shown, token = page(items, key=str, size=size, token=token, render=_shown)
        assert len(shown) <= size
        seen += [each.value for each in shown]
        if not token:
            break
        one_goes: bool = data.draw(st.booleans())
        if items and one_goes:
            gone = data.draw(st.sampled_from(items))
            items.remove(gone)
            stays.discard(gone)

    assert stays <= set(seen)
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("token", ["x", "invalid-token", "YWZ0ZX=", "é"])
def test_an_unknown_token_aborts(token: str) -> None:
    """The caller has to start again with the first page."""
    with pytest.raises(Aborted):
        page(["a"], key=str, size=1, token=token, render=_shown)
    with pytest.raises(InvalidArgument):
        page(["a"], key=str, size=-1, token="", render=_shown)


def test_no_entry_fails_a_list_and_no_page_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """I9: an entry that cannot be rendered is omitted, and pages are smaller than gRPC's limit; together they have the rest."""
    monkeypatch.setattr(paging, "MAX_PAGE_BYTES", 100)

    def render(item: str) -> StringValue:
        if item == "odd":
            raise OverflowError(item)
        return _shown(item * (1000 if item == "large" else 20))

    seen, token, pages = "", "", 0
    while pages == 0 or token:
        shown, token = page(["a", "b", "c", "d", "large", "odd", "z"], key=str, size=0, token=token, render=render)
        assert sum(each.ByteSize() for each in shown) <= 100
        seen, pages = seen + "".join(each.value[0] for each in shown), pages + 1

    assert (seen, pages) == ("abcdz", 2)
