"""What a member is told that they may do is what they are let do."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.errors import Refused
from bot.policy import Policy
from bot.rules import Visit
from bot.storage import Storage

from .test_policy import (
    ALICE,
    ARTISTS,
    BOB,
    CHANNEL,
    DAY,
    ELSEWHERE,
    REQUEST,
    STAFF,
    VISIT,
    House,
    admit,
    refusal,
)

ARTIST = replace(VISIT, role_ids=frozenset({ARTISTS}))
STAFF_MEMBER = replace(VISIT, role_ids=frozenset({ARTISTS, STAFF}))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with Storage.open(tmp_path / "data") as storage:
        yield House(storage)


async def is_admitted(policy: Policy, visit: Visit = VISIT) -> bool:
    try:
        async with policy.admission(visit, REQUEST, private=None, spoiler=False, counts=False):
            return True
    except Refused:
        return False


def about(*seconds: float) -> object:
    """Return what equals these, but for the moment that it takes to record a job."""
    return pytest.approx(seconds, abs=1)


async def test_without_settings_only_what_waits_is_limited(house: House) -> None:
    allowance = await house.policy().allowance(VISIT)
    assert allowance.refusal is None
    assert (allowance.waiting.member, allowance.waiting.server) == (20, 200)
    assert allowance.mine is not None
    assert allowance.ours is not None
    assert allowance.mine.limit == allowance.ours.limit == math.inf
    assert (allowance.cooldown, allowance.wait, allowance.factor) == (0, 0, 1)
    assert (allowance.max_count, allowance.max_steps, allowance.max_size) == (4, 50, (128, 128))
    assert (allowance.quantization, allowance.is_quantization_locked) == ("8-bit", False)


async def test_the_seconds_that_are_left_are_those_that_can_be_had(house: House) -> None:
    await house.set(seconds_per_member=60, seconds_per_server=100)
    policy = house.policy()
    await house.use(40)
    await house.use(15, user_id=BOB)
    await house.use(500, guild_id=ELSEWHERE)
    allowance = await policy.allowance(VISIT)
    assert allowance.mine is not None
    assert allowance.ours is not None
    assert (allowance.mine.seconds, allowance.mine.left) == about(40, 20)
    assert (allowance.ours.seconds, allowance.ours.left) == about(55, 45)
    assert await is_admitted(policy)

    await house.use(20)
    spent = (await policy.allowance(VISIT)).mine
    assert spent is not None
    assert (spent.seconds, spent.left) == about(60, 0)
    assert spent.when_free() in await refusal(policy)

    house.now += DAY
    spent = (await policy.allowance(VISIT)).mine
    assert spent is not None
    assert (spent.seconds, spent.left) == (0, 60)
    assert await is_admitted(policy)


async def test_what_waits_counts_as_used(house: House) -> None:
    await house.set(seconds_per_member=60)
    house.pending = 60.0
    spent = (await house.policy().allowance(VISIT)).mine
    assert spent is not None
    assert (spent.seconds, spent.left) == about(60, 0)
    assert not await is_admitted(house.policy())


async def test_roles_have_their_factor_of_everything(house: House) -> None:
    await house.set(
        seconds_per_member=60,
        waiting_per_member=3,
        cooldown=30,
        role_factors={str(ARTISTS): 2, str(STAFF): 0},
    )
    policy = house.policy()
    member, artist, staff = [await policy.allowance(v) for v in (VISIT, ARTIST, STAFF_MEMBER)]
    assert [each.factor for each in (member, artist, staff)] == [1, 2, math.inf]
    assert [each.waiting.member for each in (member, artist, staff)] == [3, 6, math.inf]
    limits = [each.mine.limit for each in (member, artist, staff) if each.mine is not None]
    assert limits == [60, 120, math.inf]
    assert [each.cooldown for each in (member, artist, staff)] == [30, 15, 0]


async def test_the_time_to_wait_is_that_after_which_one_is_admitted(house: House) -> None:
    await house.set(cooldown=30)
    policy = house.policy()
    assert (await policy.allowance(VISIT)).wait == 0
    await admit(policy)
    house.now += 10
    assert (await policy.allowance(VISIT)).wait == 20
    assert "Please wait 20 s." in await refusal(policy)
    assert (await policy.allowance(replace(VISIT, user_id=BOB))).wait == 0
    house.now += (await policy.allowance(VISIT)).wait
    assert (await policy.allowance(VISIT)).wait == 0
    assert await is_admitted(policy)


async def test_to_look_at_ones_limits_is_no_request(house: House) -> None:
    await house.set(cooldown=30)
    policy = house.policy()
    await policy.allowance(VISIT)
    assert (await policy.allowance(VISIT)).wait == 0


@pytest.mark.parametrize(
    "values",
    [
        {"denied_channels": [CHANNEL]},
        {"allowed_channels": [ELSEWHERE]},
        {"allowed_roles": [ARTISTS]},
        {"age_restricted_only": True},
        {"banned_members": {str(ALICE): {"reason": "spam"}}},
    ],
    ids=lambda values: next(iter(values)),
)
async def test_who_may_do_nothing_reads_the_sentence_that_a_request_would_get(
    house: House, values: dict[str, object]
) -> None:
    await house.set(**values)
    policy = house.policy()
    assert (await policy.allowance(VISIT)).refusal == await refusal(policy)


async def test_a_channel_has_its_own_bounds_of_a_request(house: House) -> None:
    await house.set(max_steps=30, max_count=3, quantization="None", quantization_locked=True)
    await house.set(CHANNEL, max_steps=10, max_size="small square")
    allowance = await house.policy().allowance(VISIT)
    assert (allowance.max_count, allowance.max_steps, allowance.max_size) == (3, 10, (64, 64))
    assert (allowance.quantization, allowance.is_quantization_locked) == ("None", True)


async def test_in_direct_messages_nobody_counts_seconds(house: House) -> None:
    await house.set(seconds_per_member=60, cooldown=30)
    allowance = await house.policy().allowance(Visit(user_id=ALICE, guild_id=None))
    assert (allowance.mine, allowance.ours, allowance.cooldown) == (None, None, 0)
