"""The times between two requests of one member."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bot.cooldowns import LONGEST, Cooldowns

ALICE, BOB = (1, 10), (1, 11)


@dataclass
class Clock:
    now: float = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cooldowns(clock: Clock) -> Cooldowns:
    return Cooldowns(clock)


def test_who_has_not_asked_need_not_wait(cooldowns: Cooldowns) -> None:
    cooldowns.note(BOB)
    assert cooldowns.left(ALICE, 60) == 0


def test_what_is_left_falls_with_time_to_nothing(cooldowns: Cooldowns, clock: Clock) -> None:
    cooldowns.note(ALICE)
    assert cooldowns.left(ALICE, 60) == 60
    clock.now += 45
    assert cooldowns.left(ALICE, 60) == 15
    assert cooldowns.left(ALICE, 30) == 0
    clock.now += 15
    assert cooldowns.left(ALICE, 60) == 0


def test_a_request_in_vain_is_as_if_it_had_not_been(cooldowns: Cooldowns, clock: Clock) -> None:
    cooldowns.take_back(ALICE, cooldowns.note(ALICE))
    assert cooldowns.left(ALICE, 60) == 0
    cooldowns.note(ALICE)
    clock.now += 50
    cooldowns.take_back(ALICE, cooldowns.note(ALICE))
    assert cooldowns.left(ALICE, 60) == 10


def test_a_clock_that_is_set_back_keeps_nobody_waiting(cooldowns: Cooldowns, clock: Clock) -> None:
    cooldowns.note(ALICE)
    clock.now -= 3600
    assert cooldowns.left(ALICE, 60) == 0


def test_who_asked_long_ago_is_forgotten(cooldowns: Cooldowns, clock: Clock) -> None:
    cooldowns.note(ALICE)
    clock.now += LONGEST
    cooldowns.note(BOB)
    assert cooldowns.left(ALICE, 2 * LONGEST) == 0
