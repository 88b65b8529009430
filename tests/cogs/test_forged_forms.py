"""Forms with values that no form takes, or that nobody opened: a sentence, and no absurd job."""

from __future__ import annotations

from typing import Any

import pytest
import simcord
from simcord.actors import _dispatch_actor_interaction
from simcord.enums import InteractionType

from bot.inference.tools import FAMILIES
from bot.settings import KEYS
from tests.cogs.forgery import Watch, press, submit, told
from tests.cogs.moderators import add_moderator
from tests.conftest import Scene
from tests.records import has_begun, made

DEFECT = "Something went wrong"
GOOD = {"prompt": "a fox", "area": "left half", "steps": "4", "guidance": "3.5", "seed": "1"}
HUGE = "9" * 5000

HOSTILE = {
    "steps": ["", "0", "-1", "51", "1e9", "4.5", "\u00b2", "\u0664", "NaN", HUGE, "4; DROP", "0x4"],
    "guidance": ["", "nan", "inf", "-inf", "1e999", "-1", "1,2,3", "\u00bd", HUGE, "3.5\x00"],
    "seed": ["", "-1", str(2**32), str(2**64), "1.0", HUGE, "seed"],
    "prompt": ["", " \n", "a" * 6000, "\x00"],
    "area": ["101 0 1 1", "-5 0 10 10", "nan nan nan nan", "a" * 6000, "\x00", "0 0 1e309 1"],
}
TYPED = ["", "-1", HUGE, "\x00", "@everyone", "<@&1> " * 900, "(a+)+$" * 600, "\ud83d", "none"]


async def own_job(scene: Scene) -> int:
    await has_begun(scene.app.jobs)
    here = {"guild_id": scene.channel.guild.id, "channel_id": scene.channel.id}
    return (await made(scene.app.storage, user_id=scene.alice.id, **here)).id


@pytest.mark.parametrize("kind", ["edit", "repaint", "remix"])
async def test_values_out_of_range_are_refused_in_a_sentence(
    held_scene: Scene, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    job_id = await own_job(held_scene)
    watch = Watch(held_scene, caplog)
    for name, values in HOSTILE.items():
        for value in values:
            typed = GOOD | {name: value}
            result = await submit(
                held_scene, held_scene.alice, f"made:form:{kind}:{job_id}:0", typed
            )
            assert told(result)
            assert DEFECT not in told(result), (name, value)
    watch.check()
    span = FAMILIES["flux"].catalogue["dev"].steps
    for job in held_scene.app.jobs.unfinished():
        assert 0 < job.request.num_inference_steps <= span.high
        assert job.request.guidance_scale is None or 0 <= job.request.guidance_scale <= 50
        assert 0 <= job.request.seed < 2**32
        assert job.request.prompt.strip()


@pytest.mark.parametrize("position", [0, 1, 2, 5, 999])
async def test_a_picture_that_a_job_does_not_have_is_a_sentence(
    held_scene: Scene, caplog: pytest.LogCaptureFixture, position: int
) -> None:
    job_id = await own_job(held_scene)
    watch = Watch(held_scene, caplog)
    for kind in ("edit", "repaint", "remix"):
        custom_id = f"made:form:{kind}:{job_id}:{position}"
        assert DEFECT not in told(await submit(held_scene, held_scene.alice, custom_id, GOOD))
    for verb in ("subtle", "zoom2", "up", "compare", "edit", "repaint", "remix", "info"):
        custom_id = f"made:{verb}:{job_id}:{position}"
        answer = told(await press(held_scene, held_scene.alice, custom_id))
        assert answer
        assert DEFECT not in answer, verb
    watch.check()


@pytest.mark.parametrize(
    "components",
    [
        [],
        [{}],
        [{"type": 18}],
        [{"type": 18, "component": {}}],
        [{"type": 18, "component": {"type": 4, "custom_id": "prompt"}}],
        [{"type": 18, "component": {"type": 4, "custom_id": "prompt", "value": None}}],
        [{"type": 18, "component": {"type": 3, "custom_id": "prompt", "values": ["a"]}}],
        [{"type": 1, "components": [{"type": 4, "custom_id": "prompt", "value": "a fox"}]}],
    ],
    ids=str,
)
async def test_a_form_of_another_shape_is_a_sentence(
    held_scene: Scene, caplog: pytest.LogCaptureFixture, components: list[dict[str, Any]]
) -> None:
    job_id = await own_job(held_scene)
    watch = Watch(held_scene, caplog)
    data = {"custom_id": f"made:form:edit:{job_id}:1", "components": components}
    result = await _dispatch_actor_interaction(
        held_scene.alice, InteractionType.MODAL_SUBMIT, held_scene.channel, data
    )
    assert told(result)
    assert DEFECT not in told(result)
    watch.check()
    assert held_scene.app.jobs.unfinished() == []


async def test_whatever_is_typed_as_a_setting_is_kept_or_refused_in_a_sentence(
    held_scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    admin = add_moderator(held_scene)
    watch = Watch(held_scene, caplog)
    for number, key in enumerate(KEYS):
        for text in (TYPED[number % len(TYPED)], TYPED[(number + 4) % len(TYPED)]):
            answer = await type_setting(held_scene, admin, key, text)
            assert answer, key
            assert DEFECT not in answer, (key, text)
    watch.check()


async def type_setting(scene: Scene, admin: simcord.MemberActor, key: str, text: str) -> str:
    """Open the form of a setting from a panel, and send it with a text."""
    custom_id = f"settings:change:{key}:0:{admin.id}"
    shown = await press(scene, admin, custom_id)
    if shown.modal is None:
        return told(shown)
    source = shown._interaction.source_message_id
    channel = scene.app.client.get_channel(scene.channel.id)
    message = await channel.fetch_message(source)  # type: ignore[union-attr]
    data = {
        "custom_id": f"{custom_id}:typed",
        "components": [{"type": 18, "component": {"type": 4, "custom_id": "value", "value": text}}],
    }
    extra = {
        "message": simcord.backend.serializers.message_payload(  # type: ignore[attr-defined]
            scene.env.backend, scene.env.backend.get_message(scene.channel.id, message.id)
        )
    }
    result = await _dispatch_actor_interaction(
        admin,
        InteractionType.MODAL_SUBMIT,
        scene.channel,
        data,
        extra=extra,
        source_message_id=message.id,
    )
    return told(result)
