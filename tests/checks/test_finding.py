"""A finding is one line, with what mends it below."""

from __future__ import annotations

from bot.checks.finding import fault, ok, unchecked


def test_a_finding_is_one_line_and_a_fault_has_its_mend_below() -> None:
    assert str(ok("clock", "agrees")) == "ok         clock        agrees"
    first, second = str(fault("disk", "is full", "make room")).splitlines()
    assert first == "fault      disk         is full"
    assert second == "                        → make room"
    assert str(unchecked("hub", "no network")).startswith("unchecked  hub")


def test_names_from_elsewhere_cannot_steer_the_terminal() -> None:
    shown = str(ok("server", "\x1b[2Jevil\nfault      token"))
    assert shown == "ok         server       ?[2Jevil?fault      token"
