"""What is kept of earlier jobs: the last used, within the limit."""

from __future__ import annotations

from bot.inference.kept import Kept


def test_what_was_not_used_for_longest_goes_first() -> None:
    kept: Kept[str] = Kept(limit=10)
    kept.put("a", "first", 4)
    kept.put("b", "second", 4)
    assert kept.get("a") == "first"
    kept.put("c", "third", 4)
    assert [kept.get(key) for key in "abc"] == ["first", None, "third"]


def test_what_alone_is_too_large_is_not_kept() -> None:
    kept: Kept[str] = Kept(limit=10)
    kept.put("a", "too large", 11)
    assert kept.get("a") is None
    assert kept.bytes == 0


def test_a_value_put_again_counts_once() -> None:
    kept: Kept[str] = Kept(limit=10)
    kept.put("a", "old", 6)
    kept.put("a", "new", 6)
    assert (kept.get("a"), kept.bytes) == ("new", 6)


def test_nothing_is_left_after_clearing() -> None:
    kept: Kept[str] = Kept(limit=10)
    kept.put("a", "first", 4)
    kept.clear()
    assert (kept.get("a"), kept.bytes) == (None, 0)
