"""Discard limits of a device by its queue in sysfs."""

from pathlib import Path

import pytest

from csi.host import block_queue


@pytest.mark.parametrize(
    ("most", "now", "passes", "limited"),
    [
        (4294966784, 4294966784, True, False),
        (4294966784, 0, False, True),
        (4294966784, 4096, True, False),
        (0, 0, False, False),
    ],
)
def test_a_device_that_supports_discards_and_has_them_disabled_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, now: int, passes: bool, limited: bool
) -> None:
    """A device over a file that cannot have holes passes none on either, and is not limited."""
    monkeypatch.setattr(block_queue, "_SYSTEM", tmp_path)
    queue = tmp_path / "loop0" / "queue"
    queue.mkdir(parents=True)
    (queue / "discard_max_hw_bytes").write_text(f"{most}\n", encoding="ascii")
    (queue / "discard_max_bytes").write_text(f"{now}\n", encoding="ascii")
    assert (block_queue.passes_discards("loop0"), block_queue.is_limited("loop0")) == (passes, limited)

    block_queue.stop_discards("loop0")
    assert (block_queue.passes_discards("loop0"), block_queue.is_limited("loop0")) == (False, most > 0)


def test_of_a_missing_device_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading raises nothing; setting does."""
    monkeypatch.setattr(block_queue, "_SYSTEM", tmp_path)

    assert not block_queue.passes_discards("loop0")
    assert not block_queue.is_limited("loop0")
    with pytest.raises(OSError, match="No such file"):
        block_queue.stop_discards("loop0")
