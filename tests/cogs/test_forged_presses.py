"""Presses that nobody issued, or not for who presses: one sentence, and nothing is seen or done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import simcord
from hypothesis import strategies as st

from bot.cogs._buttons import BUTTONS
from bot.cogs._mask_preview import LABELS as MASK_VERBS
from bot.cogs._results import OFFERS
from bot.cogs.history import LABELS as HISTORY_VERBS
from bot.inference.types import Region
from tests.cogs.forgery import Watch, examples, issued, press, submit, told
from tests.conftest import Scene
from tests.records import REQUEST, has_begun, made, queued

SECRET = "canary"
DEFECT = "Something went wrong"
NOBODYS = 7 * 10**17
TEMPLATES = {each.__name__: each.__discord_ui_compiled_template__ for each in BUTTONS}


async def secrets(scene: Scene) -> dict[str, int]:
    """Return jobs that Bob may not see, by where they are."""
    await has_begun(scene.app.jobs)
    request = replace(REQUEST, prompt=SECRET)
    here = {"guild_id": scene.channel.guild.id, "channel_id": scene.channel.id}
    elsewhere = {"guild_id": 5 * 10**17, "channel_id": 6 * 10**17}
    alone = {"guild_id": None, "channel_id": 8 * 10**17, "private": True}
    about: dict[str, dict[str, Any]] = {
        "another server": {"user_id": scene.alice.id, **elsewhere},
        "the same channel, privately": {"user_id": scene.alice.id, **here, "private": True},
        "a direct message": {"user_id": scene.alice.id, **alone},
    }
    storage = scene.app.storage
    jobs = {
        where: (await made(storage, request=request, **origin)).id
        for where, origin in about.items()
    }
    waiting = await queued(storage, request=request, **about["another server"])
    return {**jobs, "another server, waiting": waiting.id}


async def draft(scene: Scene) -> int:
    """Return a preview of Alice's."""
    job = await queued(scene.app.storage, user_id=scene.alice.id, private=True)
    request = replace(REQUEST, tool="fill", prompt=SECRET, region=Region(area="left"))
    return (await scene.app.storage.drafts.add(request, job.origin)).id


def forged(job_id: int) -> list[str]:
    """Return a custom_id of each button that names a job."""
    places = ("0:m::", "0:mh::", "0:s::", f"{job_id}:s::{SECRET}")
    return [
        f"cancel:{job_id}",
        f"undo:{job_id}",
        *(f"made:{verb}:{job_id}:{number}" for verb in OFFERS for number in (0, 1)),
        *(f"past:{verb}:{job_id}:{place}" for verb in HISTORY_VERBS for place in places),
    ]


async def test_no_forged_press_shows_or_changes_what_is_not_for_who_presses(
    held_scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    jobs, storage = await secrets(held_scene), held_scene.app.storage
    before = [await storage.job(job_id) for job_id in jobs.values()]
    watch = Watch(held_scene, caplog)
    for where, job_id in jobs.items():
        for custom_id in forged(job_id):
            answer = told(await press(held_scene, held_scene.bob, custom_id))
            assert answer, (where, custom_id)
            looked_for = f"with \u201c{SECRET}\u201d".encode("unicode_escape").decode()
            assert SECRET not in answer.replace(looked_for, ""), (where, custom_id)
        for custom_id in (f"made:pick:{job_id}", "past:choose:0:s::", "past:choose:0:m::"):
            result = await press(held_scene, held_scene.bob, custom_id, [str(job_id), "999"])
            assert SECRET not in told(result), (where, custom_id)
    watch.check()
    assert [await storage.job(job.id) for job in before] == before


async def test_no_forged_form_makes_anything_of_what_is_not_for_who_sends_it(
    held_scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = await secrets(held_scene)
    count = len(await held_scene.app.storage.last_made(100))
    watch = Watch(held_scene, caplog)
    for job_id in jobs.values():
        for kind in ("edit", "repaint", "remix"):
            custom_id = f"made:form:{kind}:{job_id}:1"
            typed = {"prompt": "a fox", "area": "left half", "steps": "4", "seed": "1"}
            sentence = told(await submit(held_scene, held_scene.bob, custom_id, typed))
            assert "This picture is not from here." in sentence
            assert SECRET not in sentence
    watch.check()
    assert len(await held_scene.app.storage.last_made(100)) == count
    assert [job.id for job in held_scene.app.jobs.unfinished()] == []


@pytest.mark.parametrize("verb", MASK_VERBS)
async def test_a_preview_is_nobodys_but_its_members(
    held_scene: Scene, caplog: pytest.LogCaptureFixture, verb: str
) -> None:
    number = await draft(held_scene)
    watch = Watch(held_scene, caplog)
    answer = told(await press(held_scene, held_scene.bob, f"mask:{verb}:{number}"))
    assert "Only the member who asked for this preview can use its buttons." in answer
    watch.check()
    assert (await held_scene.app.storage.drafts.get(number)).request.region == Region(area="left")


@pytest.mark.parametrize("name", TEMPLATES)
async def test_whatever_fits_a_button_is_answered_without_a_defect(
    held_scene: Scene, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    await secrets(held_scene)
    template = TEMPLATES[name]
    custom_ids = st.from_regex(template, fullmatch=True).filter(lambda each: len(each) <= 100)
    values = st.lists(st.text(min_size=1, max_size=100), min_size=1, max_size=3, unique=True)
    selects = name.endswith("Select") or name == "Control"
    presses = st.tuples(custom_ids, values if selects else st.none(), st.integers(0, 3))
    for custom_id, offered, chosen in examples(presses, 12):
        watch = Watch(held_scene, caplog)
        result = await press(held_scene, held_scene.bob, custom_id, offered, chosen=chosen)
        answer = told(result)
        assert answer, custom_id
        assert DEFECT not in answer, (custom_id, offered, chosen)
        assert SECRET not in answer
        watch.check()


@pytest.mark.parametrize(
    "custom_id",
    [
        "cancel:",
        "cancel:-1",
        "cancel:1e3",
        f"cancel:{'9' * 90}",
        "made:again:1",
        "made:again:1:1:1",
        "made:publish:1:1",
        "made:again:\u00b2:1",
        "past:older:0:m",
        "past:show:1:x::",
        "queue:-1",
        f"queue:{10**40}",
        f"mask:paint:{10**40}",
        f"settings_log:{10**30}:{NOBODYS}",
        f"settings:on:private:{10**30}:{NOBODYS}",
        "privacy:everything",
        "undo:1 OR 1=1",
        "CANCEL:1",
        " cancel:1",
        "cancel:1\n",
        "\u202ecancel:1",
        "'; DROP TABLE jobs; --",
        "x",
    ],
)
async def test_what_no_button_takes_is_answered_in_a_sentence(
    held_scene: Scene, caplog: pytest.LogCaptureFixture, custom_id: str
) -> None:
    assert not issued(custom_id)
    watch = Watch(held_scene, caplog)
    result = await press(held_scene, held_scene.bob, custom_id)
    assert result.response is not None
    assert result.response.ephemeral
    assert result.response.content == (
        "This button is of another version of the bot. Please give its command once more."
    )
    watch.check()


async def test_a_control_that_its_message_does_not_have_does_nothing(
    held_scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """discord.py looks whether it is there: a client that names another one is not heard."""
    store, guild = held_scene.app.storage.settings, held_scene.channel.guild.id
    watch = Watch(held_scene, caplog)
    custom_id = f"settings:on:quantization_locked:0:{held_scene.bob.id}"
    with pytest.MonkeyPatch.context() as patch:
        renamed(patch, custom_id)
        await press(held_scene, held_scene.bob, "queue:0")
    watch.check()
    assert await store.overrides(guild) == {}


def renamed(patch: pytest.MonkeyPatch, custom_id: str) -> None:
    """Let each press name a control that its message has not."""
    interactions = simcord.actors._interactions  # type: ignore[attr-defined]
    payload = interactions.base_payload

    def other(*arguments: Any, data: dict[str, Any], **options: Any) -> Any:
        return payload(*arguments, data={**data, "custom_id": custom_id}, **options)

    patch.setattr(interactions, "base_payload", other)


async def test_a_press_that_comes_fifty_times_is_one(
    held_scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await has_begun(held_scene.app.jobs)
    here = {"guild_id": held_scene.channel.guild.id, "channel_id": held_scene.channel.id}
    job = await made(held_scene.app.storage, user_id=held_scene.alice.id, **here)
    watch = Watch(held_scene, caplog)
    # by the clock of the simulation all of them come at the same moment
    again = f"made:again:{job.id}:0"
    message = await press(held_scene, held_scene.alice, again)
    source = message._interaction.source_message_id
    channel = held_scene.app.client.get_channel(held_scene.channel.id)
    shown = await channel.fetch_message(source)  # type: ignore[union-attr]
    for _ in range(49):
        await held_scene.alice.click(shown, custom_id=again)
    watch.check()
    assert len(held_scene.app.jobs.unfinished()) == 1
