"""docs/reliability.md says what the tests play, no more and no less."""

from __future__ import annotations

import pytest

from .reliability import PAGE, WRITE, page, scenarios


def test_the_page_lists_exactly_the_scenarios_that_are_played(
    request: pytest.FixtureRequest,
) -> None:
    if request.config.getoption(WRITE):
        pytest.skip("the page is being written")
    assert PAGE.read_text("utf-8") == page(scenarios()), f"please run pytest tests/wire {WRITE}"


def test_each_scenario_is_told_once_and_in_a_whole_sentence() -> None:
    events = [each.event for each in scenarios()]
    assert len(events) == len(set(events))
    for each in scenarios():
        assert each.event[0].isupper()
        assert each.outcome[0].isupper()
        assert each.outcome.endswith(".")
        assert "|" not in each.event + each.outcome
