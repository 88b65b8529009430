"""The rules: who may ask for what, where and how often, and the sentence for who may not."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bot.errors import Refused
from bot.inference.sweeps import compare, parse, swept, variations
from bot.inference.tools import FAMILIES
from bot.inference.types import Region, Request, Sweep
from bot.policy import Admission, Policy
from bot.records import Origin
from bot.rules import Visit
from bot.storage import Storage

from .doubles import result_for

GUILD, CATEGORY, CHANNEL, THREAD = (10**17 + n for n in range(4))
ELSEWHERE = 10**17 + 50
ARTISTS, STAFF, MUTED = (2 * 10**17 + n for n in range(3))
ALICE, BOB, MODERATOR = (3 * 10**17 + n for n in range(3))
DAY = 86400.0

VISIT = Visit(user_id=ALICE, guild_id=GUILD, channel_ids=(CATEGORY, CHANNEL))
REQUEST = Request(
    tool="dev",
    prompt="a red circle",
    height=128,
    width=128,
    num_inference_steps=20,
    guidance_scale=3.5,
    seed=1,
)


@dataclass
class House:
    """A policy, the storage it reads, and a clock and a queue in the test's hand."""

    storage: Storage
    now: float = 1e9
    pending: float = 0.0

    def policy(self, **operator: Any) -> Policy:
        return Policy(
            self.storage,
            FAMILIES["tiny"],
            pending=lambda guild_id, user_id: self.pending,
            clock=lambda: self.now,
            **operator,
        )

    async def set(self, channel_id: int = 0, **values: Any) -> None:
        await self.storage.settings.change(GUILD, channel_id, values, user_id=MODERATOR)

    async def use(self, seconds: float, user_id: int = ALICE, guild_id: int = GUILD) -> None:
        """Let a job of a member have run until now."""
        origin = Origin(
            user_id=user_id,
            guild_id=guild_id,
            channel_id=CHANNEL,
            message_id=1,
            application_id=1,
            token="",
        )
        job = await self.storage.add_job(REQUEST, origin)
        await self.storage.start_job(job.id)
        self.storage._begun[job.id] -= seconds
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bot.storage.time.time", lambda: self.now)
            await self.storage.finish_job(job.id, result_for(REQUEST))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with Storage.open(tmp_path / "data") as storage:
        yield House(storage)


async def admit(
    policy: Policy,
    visit: Visit = VISIT,
    request: Request = REQUEST,
    *,
    private: bool | None = None,
    spoiler: bool = False,
) -> Admission:
    async with policy.admission(visit, request, private=private, spoiler=spoiler) as admission:
        return admission


async def refusal(
    policy: Policy, visit: Visit = VISIT, request: Request = REQUEST, **options: Any
) -> str:
    with pytest.raises(Refused) as refused:
        await admit(policy, visit, request, **options)
    sentence = str(refused.value)
    assert re.fullmatch(r"[A-Z0-9`].*\.", sentence)
    return sentence


async def test_without_settings_everything_is_admitted_as_it_was_asked(house: House) -> None:
    admission = await admit(house.policy())
    assert admission.request == REQUEST
    assert (admission.private, admission.spoiler) == (False, False)
    assert (admission.limits.member, admission.limits.server) == (20, 200)


async def test_the_operator_names_the_servers(house: House) -> None:
    policy = house.policy(servers=frozenset({ELSEWHERE}))
    assert "does not serve this server" in await refusal(policy)
    await admit(policy, replace(VISIT, guild_id=ELSEWHERE))


async def test_the_operator_switches_direct_messages_off(house: House) -> None:
    direct = Visit(user_id=ALICE, guild_id=None)
    await admit(house.policy(), direct)
    assert "direct messages" in await refusal(house.policy(direct_messages=False), direct)


@pytest.mark.parametrize("denied", [CATEGORY, CHANNEL], ids=["category", "channel"])
async def test_a_denied_place_names_itself_and_its_threads_are_denied_too(
    house: House, denied: int
) -> None:
    await house.set(denied_channels=[denied])
    assert f"<#{denied}>" in await refusal(house.policy())
    in_thread = replace(VISIT, channel_ids=(CATEGORY, CHANNEL, THREAD))
    assert f"<#{denied}>" in await refusal(house.policy(), in_thread)
    await admit(house.policy(), replace(VISIT, channel_ids=(ELSEWHERE,)))


async def test_where_channels_are_named_the_others_are_shut_and_told_which(house: House) -> None:
    await house.set(allowed_channels=[ELSEWHERE, CATEGORY + 60])
    sentence = await refusal(house.policy())
    assert f"Use <#{ELSEWHERE}> or <#{CATEGORY + 60}>." in sentence
    await house.set(allowed_channels=[CATEGORY])
    await admit(house.policy())


async def test_roles_are_allowed_and_denied_and_denial_goes_first(house: House) -> None:
    artist = replace(VISIT, role_ids=frozenset({ARTISTS}))
    await house.set(allowed_roles=[ARTISTS])
    assert f"<@&{ARTISTS}>" in await refusal(house.policy())
    await admit(house.policy(), artist)
    await house.set(denied_roles=[MUTED])
    muted = replace(VISIT, role_ids=frozenset({ARTISTS, MUTED}))
    assert f"<@&{MUTED}>" in await refusal(house.policy(), muted)


async def test_a_ban_ends_by_itself_and_gives_its_reason(house: House) -> None:
    until = house.now // 60 * 60 + 120
    await house.set(banned_members={ALICE: {"reason": "spam", "until": until}})
    sentence = await refusal(house.policy())
    assert "spam" in sentence
    assert f"<t:{until:.0f}:f>" in sentence
    await admit(house.policy(), replace(VISIT, user_id=BOB))
    house.now = until + 1
    await admit(house.policy())


async def test_a_bot_for_age_restricted_channels_works_in_no_other(house: House) -> None:
    await house.set(age_restricted_only=True)
    assert "age-restricted" in await refusal(house.policy())
    await admit(house.policy(), replace(VISIT, age_restricted=True))


async def test_a_channel_where_the_bot_may_not_answer_is_told_before_any_work(
    house: House,
) -> None:
    visit = replace(VISIT, missing=("send messages", "attach files"))
    sentence = await refusal(house.policy(), visit)
    assert "may not send messages or attach files" in sentence
    await admit(house.policy(), visit, private=True)


async def test_a_tool_that_is_off_says_which_are_on(house: House) -> None:
    await house.set(tools=["schnell", "fill"])
    sentence = await refusal(house.policy())
    assert sentence == "FLUX.1 dev is switched off here. There is FLUX.1 schnell, FLUX.1 Fill."


async def test_a_locked_quantization_is_the_only_one(house: House) -> None:
    full = replace(REQUEST, quantization="None")
    await admit(house.policy(), request=full)
    await house.set(quantization_locked=True)
    assert "always 8-bit" in await refusal(house.policy(), request=full)
    await admit(house.policy())
    await house.set(quantization="None")
    assert "always None" in await refusal(house.policy())
    await house.set(quantization=None)
    assert "always None" in await refusal(house.policy(quantization="None"))


async def test_every_picture_of_a_sweep_is_held_to_the_rules(house: House) -> None:
    steps = swept(REQUEST, Sweep(option="steps", values=(4, 20, 8)))
    await admit(house.policy(), request=steps)
    await house.set(max_steps=10)
    assert "20 steps, and 10 at most" in await refusal(house.policy(), request=steps)
    await house.set(max_steps=20, max_count=1)
    assert (await admit(house.policy(), request=steps)).request.sweep == steps.sweep


async def test_a_sweep_of_models_is_refused_for_any_that_is_off(house: House) -> None:
    models = swept(REQUEST, parse("model schnell dev", FAMILIES["flux"], model="dev"))
    await admit(house.policy(), request=models)
    await house.set(tools=["schnell"])
    sentence = await refusal(house.policy(), request=models)
    assert sentence == "FLUX.1 dev is switched off here. There is FLUX.1 schnell."


async def test_quantizations_are_not_compared_where_one_is_locked(house: House) -> None:
    request = compare(REQUEST, 1)
    await admit(house.policy(), request=request)
    await house.set(quantization_locked=True)
    sentence = await refusal(house.policy(), request=request)
    assert sentence == (
        "`quantization` is always 8-bit here. So there is nothing to compare it with."
    )


async def test_every_picture_of_a_sweep_is_classified_where_the_server_wants_it(
    house: House,
) -> None:
    await house.set(classifier="blur")
    admission = await admit(house.policy(), request=compare(REQUEST, 1))
    assert [each.classify for each in variations(admission.request)] == [True, True]


async def test_a_long_list_of_channels_still_is_a_sentence_that_discord_takes(
    house: House,
) -> None:
    await house.set(allowed_channels=[ELSEWHERE + n for n in range(100)])
    sentence = await refusal(house.policy())
    assert sentence.endswith("or 90 others.")
    assert len(sentence) < 2000


@pytest.mark.parametrize(
    ("limit", "request_", "said"),
    [
        ({"max_count": 2}, replace(REQUEST, count=3), "`count` is 3, and 2 at most"),
        ({"max_steps": 10}, REQUEST, "20 steps, and 10 at most"),
        ({"max_size": "small square"}, REQUEST, "128×128 pixels are more"),
    ],
    ids=["count", "steps", "size"],
)
async def test_what_is_too_much_is_told_what_would_do(
    house: House, limit: dict[str, Any], request_: Request, said: str
) -> None:
    await admit(house.policy(), request=request_)
    await house.set(**limit)
    assert said in await refusal(house.policy(), request=request_)


async def test_a_picture_that_takes_after_an_image_is_kept_within_the_largest_size(
    house: House,
) -> None:
    await house.set(max_size="small square")
    like_the_image = replace(REQUEST, tool="kontext", width=None, height=None)
    admission = await admit(house.policy(), request=like_the_image)
    assert admission.request.max_pixels == 64 * 64


async def test_a_blocked_word_is_refused_without_being_named(house: House) -> None:
    await house.set(blocked_words=["circle"], blocked_patterns=["sq.are"])
    sentence = await refusal(house.policy())
    assert "circle" not in sentence
    await refusal(house.policy(), request=replace(REQUEST, prompt="a big SQUARE"))
    await admit(house.policy(), request=replace(REQUEST, prompt="a red triangle"))
    words = Region(words="the squares")
    await refusal(house.policy(), request=replace(REQUEST, prompt="a hat", region=words))
    await house.set(blocked_words=[])
    await admit(house.policy())


async def test_the_seconds_of_a_day_run_out_and_say_when_there_are_more(house: House) -> None:
    await house.set(seconds_per_member=100)
    await house.use(60)
    await house.use(1000, user_id=BOB)
    await house.use(1000, guild_id=ELSEWHERE)
    await admit(house.policy())
    first = house.now
    house.now += 3600
    await house.use(50)
    assert f"<t:{first + DAY:.0f}:R>" in await refusal(house.policy())
    house.now = first + DAY + 1
    await admit(house.policy())


async def test_seconds_that_a_wrong_clock_noted_in_the_future_count_for_nobody(
    house: House,
) -> None:
    await house.set(seconds_per_member=100)
    await house.use(1000)
    await refusal(house.policy())
    house.now -= 7 * DAY
    await admit(house.policy())


async def test_what_waits_already_counts_for_the_seconds_of_a_day(house: House) -> None:
    await house.set(seconds_per_member=100)
    house.pending = 100
    assert "Please wait" in await refusal(house.policy())


async def test_the_seconds_of_a_server_are_those_of_all_its_members(house: House) -> None:
    await house.set(seconds_per_server=100)
    await house.use(60, user_id=BOB)
    await house.use(60, user_id=MODERATOR)
    assert "This server has used up the time on the GPU" in await refusal(house.policy())


async def test_the_best_role_multiplies_the_limits_or_lifts_them(house: House) -> None:
    await house.set(seconds_per_member=100, role_factors={ARTISTS: 3, STAFF: 0, MUTED: 0.5})
    await house.use(150)
    await refusal(house.policy())
    artist = replace(VISIT, role_ids=frozenset({ARTISTS, MUTED}))
    assert (await admit(house.policy(), artist)).limits.member == 60
    await house.use(200)
    await refusal(house.policy(), artist)
    staff = replace(VISIT, role_ids=frozenset({ARTISTS, STAFF}))
    assert (await admit(house.policy(), staff)).limits.member == float("inf")


async def test_a_cooldown_passes_and_a_request_that_failed_does_not_count(house: House) -> None:
    await house.set(cooldown=60)
    policy = house.policy()
    with pytest.raises(RuntimeError):
        async with policy.admission(VISIT, REQUEST, private=None, spoiler=False):
            raise RuntimeError
    await admit(policy)
    house.now += 20
    assert "Please wait 40 s." in await refusal(policy)
    await admit(policy, replace(VISIT, user_id=BOB))
    async with policy.admission(VISIT, REQUEST, private=None, spoiler=False, counts=False):
        pass
    house.now += 41
    await admit(policy)


async def test_a_clock_that_jumps_back_does_not_prolong_a_cooldown(house: House) -> None:
    await house.set(cooldown=60)
    policy = house.policy()
    await admit(policy)
    house.now -= 3600
    await admit(policy)


@pytest.mark.parametrize(
    ("setting", "asked", "shown"),
    [
        ("as asked", False, False),
        ("as asked", True, True),
        ("always", False, True),
        ("never", True, False),
    ],
)
async def test_spoilers_are_as_the_server_wants_them(
    house: House, setting: str, asked: bool, shown: bool
) -> None:
    await house.set(spoiler=setting)
    assert (await admit(house.policy(), spoiler=asked)).spoiler is shown


async def test_answers_are_private_where_the_server_says_so_unless_asked_otherwise(
    house: House,
) -> None:
    await house.set(private=True)
    assert (await admit(house.policy())).private
    assert not (await admit(house.policy(), private=False)).private


async def test_the_classifier_spares_age_restricted_channels(house: House) -> None:
    await house.set(classifier="blur", classifier_threshold=80)
    admission = await admit(house.policy())
    assert admission.request.classify
    assert (admission.look.verdict, admission.look.threshold) == ("blur", 0.8)
    spared = await admit(house.policy(), replace(VISIT, age_restricted=True))
    assert not spared.request.classify
    assert spared.look.verdict == "off"
    await house.set(classifier_spares_age_restricted=False)
    assert (await admit(house.policy(), replace(VISIT, age_restricted=True))).request.classify


async def test_a_channel_may_have_rules_of_its_own_and_its_threads_follow(house: House) -> None:
    await house.set(max_count=1)
    await house.set(CHANNEL, max_count=4)
    four = replace(REQUEST, count=4)
    await admit(house.policy(), request=four)
    await admit(house.policy(), replace(VISIT, channel_ids=(CATEGORY, CHANNEL, THREAD)), four)
    await refusal(house.policy(), replace(VISIT, channel_ids=(CATEGORY, ELSEWHERE)), four)
