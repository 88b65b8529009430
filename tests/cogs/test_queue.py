"""`/queue` and `/cancel` as members meet them."""

from __future__ import annotations

import discord
import pytest
import simcord

from bot.cogs.queue import PAGE
from tests.conftest import Scene
from tests.doubles import HeldExecutor

from .messages import button_labels, fields, refusal


async def look(scene: Scene, member: simcord.MemberActor | None = None) -> simcord.ResponseMessage:
    result = await (member or scene.alice).slash(scene.channel, "queue")
    assert result.response is not None
    assert result.response.ephemeral
    return result.response


async def cancel(scene: Scene, member: simcord.MemberActor, **options: object) -> str:
    result = await member.slash(scene.channel, "cancel", **options)
    assert result.response is not None
    assert result.response.ephemeral
    return result.response.content


async def test_an_empty_queue_says_so(held_scene: Scene) -> None:
    message = await look(held_scene)
    assert fields(message) == {"Being painted": "nothing"}
    assert message.embeds[0].footer.text == "0 waiting"


async def test_mine_come_first_and_others_see_whose_they_are_but_not_what(
    held_scene: Scene, held: HeldExecutor
) -> None:
    for seed in range(3):
        await held_scene.begin(prompt=f"secret {seed}", seed=seed)
        await held.is_busy()  # the queue begins a little after the bot
    await held_scene.bob.slash(held_scene.channel, "generate", prompt="of bob", private=True)
    seen = fields(await look(held_scene))
    assert seen["Being painted"].startswith("FLUX.1 schnell · you")
    # bob has had nothing yet, so he is next
    assert seen["Of others"].startswith("**2** FLUX.1 schnell · somebody, privately")
    lines = seen["Yours"].splitlines()
    assert [line.split(" · ")[-1] for line in lines] == ["secret 1", "secret 2"]
    assert [line.split()[0] for line in lines] == ["**3**", "**4**"]
    bobs = fields(await look(held_scene, held_scene.bob))
    assert "secret" not in "".join(bobs.values())
    assert f"<@{held_scene.alice.id}>" in bobs["Of others"]
    assert bobs["Yours"] == "**2** FLUX.1 schnell · of bob"


async def test_a_long_queue_has_pages(held_scene: Scene, held: HeldExecutor) -> None:
    for seed in range(PAGE + 4):
        await held_scene.begin(seed=seed)
        await held.is_busy()
    message = await look(held_scene, held_scene.bob)
    assert button_labels(message) == ["Back", "More"]
    assert len(fields(message)["Of others"].splitlines()) == PAGE
    await held_scene.bob.click(message, label="More")
    assert len(fields(message)["Of others"].splitlines()) == 3
    assert (message.embeds[0].footer.text or "").endswith("page 2 of 2")


async def test_one_job_is_cancelled_without_a_number_and_of_several_one_is_named(
    held_scene: Scene,
) -> None:
    first = await held_scene.begin(seed=1)
    assert await cancel(held_scene, held_scene.alice) == "It is cancelled."
    assert "Cancelled." in (first.embeds[0].description or "")
    await held_scene.app.jobs.idle()
    for seed in (2, 3, 4):
        await held_scene.begin(seed=seed)
    result = await held_scene.alice.slash(held_scene.channel, "cancel")
    assert "You have 3 jobs" in refusal(held_scene, result)
    choices = await held_scene.alice.autocomplete(held_scene.channel, "cancel", "job", "")
    assert len(choices) == 3
    chosen = (await held_scene.app.jobs.places())[-1].job.id
    assert await cancel(held_scene, held_scene.alice, job=chosen) == "It is cancelled."
    assert [job.id for job in held_scene.app.jobs.unfinished()][1:] == [chosen - 1]
    assert await cancel(held_scene, held_scene.alice, all=True) == "2 jobs are cancelled."
    await held_scene.app.jobs.idle()
    result = await held_scene.alice.slash(held_scene.channel, "cancel")
    assert "no job that waits or runs" in refusal(held_scene, result)


async def test_another_members_job_is_a_moderators_to_cancel(
    held_scene: Scene, held: HeldExecutor
) -> None:
    message = await held_scene.begin(seed=1)
    await held.is_busy()
    (run,) = held_scene.app.jobs.running
    result = await held_scene.bob.slash(held_scene.channel, "cancel", job=run.job.id)
    assert "someone who manages messages here" in refusal(held_scene, result)
    assert await cancel(held_scene, held_scene.moderator, job=run.job.id) == "It is cancelled."
    await held_scene.app.jobs.idle()
    assert "Cancelled by mod." in (message.embeds[0].description or "")


async def test_a_moderator_may_cancel_what_is_private_but_not_read_it(held_scene: Scene) -> None:
    await held_scene.begin(seed=1, prompt="a secret", private=True)
    await held_scene.begin(seed=2, prompt="a fox")

    async def offered(member: simcord.MemberActor) -> list[str]:
        choices = await member.autocomplete(held_scene.channel, "cancel", "job", "")
        return [choice["name"] for choice in choices]

    fox = "2 · FLUX.1 schnell · a fox"
    assert await offered(held_scene.moderator) == ["1 · FLUX.1 schnell", fox]
    assert await offered(held_scene.alice) == ["1 · FLUX.1 schnell · a secret", fox]
    assert await offered(held_scene.bob) == []


@pytest.mark.parametrize("many", [False, True], ids=["one", "in bulk"])
async def test_a_deleted_message_calls_its_job_off(
    held_scene: Scene, held: HeldExecutor, many: bool
) -> None:
    message = await held_scene.begin(seed=1)
    await held.is_busy()
    client = held_scene.app.client
    where = {"channel_id": str(held_scene.channel.id)}
    if many:
        bulk = discord.RawBulkMessageDeleteEvent({"ids": ["1", str(message.id)], **where})  # type: ignore[arg-type]
        client.dispatch("raw_bulk_message_delete", bulk)
    else:
        event = discord.RawMessageDeleteEvent({"id": str(message.id), **where})  # type: ignore[arg-type]
        client.dispatch("raw_message_delete", event)
    await held_scene.env.settle()
    await held_scene.app.jobs.idle()
    assert await held_scene.app.storage.unfinished_jobs() == []
    job = await held_scene.app.storage.job(1)
    assert (job.state, job.error) == ("cancelled", "Its message was deleted.")


async def test_a_server_without_the_bot_has_no_jobs_and_nobody_is_written_to(
    held_scene: Scene, held: HeldExecutor
) -> None:
    for seed in (1, 2):
        await held_scene.begin(seed=seed)
        await held.is_busy()
    await held_scene.alice.user.slash("generate", prompt="a red circle")
    before = len(held_scene.env.http_requests)
    held_scene.env.backend.remove_guild(held_scene.alice.guild.id)
    await held_scene.env.settle()
    await held.let_finish(1)
    await held_scene.app.jobs.idle()
    jobs = [await held_scene.app.storage.job(number) for number in (1, 2, 3)]
    assert [job.state for job in jobs] == ["cancelled", "cancelled", "delivered"]
    assert jobs[0].error == "The bot was removed from the server."
    told = held_scene.env.http_requests[before:]
    assert [
        r for r in told if r.method != "GET" and str(jobs[2].origin.message_id) not in r.path
    ] == []
