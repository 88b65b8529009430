"""`/generate sweep:` as a member meets it, with the real tiny models."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import simcord
from PIL import Image

from bot import delivery
from bot.inference.executor import LocalExecutor
from bot.inference.metadata import read_metadata
from bot.inference.similarity import ssim, to_pixels
from bot.inference.sweeps import compare, labels
from bot.records import Job
from bot.sheets import GAP
from tests.cogs.messages import description, fields, photo
from tests.conftest import Scene, picture, restarted
from tests.doubles import HeldExecutor, result_for
from tests.records import has_begun
from tests.test_making import STEPS

SIDE = 128


async def set_rules(scene: Scene, **values: Any) -> None:
    assert scene.channel.guild is not None
    store = scene.app.storage.settings
    await store.change(scene.channel.guild.id, 0, values, user_id=scene.moderator.id)


async def sheet(message: simcord.ResponseMessage) -> Image.Image:
    """Return the one picture of a message."""
    (file,) = message.attachments
    return picture(await file.read())


def cells(image: Image.Image, count: int, side: int = SIDE) -> list[np.ndarray[Any, Any]]:
    """Return the pixels of the pictures that lie side by side on a sheet."""
    lefts = [number * (side + GAP) for number in range(count)]
    box = (image.height - side, image.height)
    return [np.asarray(image)[box[0] : box[1], left : left + side] for left in lefts]


async def originals(scene: Scene, job_id: int) -> list[bytes]:
    return [image.path.read_bytes() for image in await scene.app.storage.images(job_id)]


def pixels(content: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(picture(content))


def words(message: simcord.ResponseMessage) -> str:
    """Return everything that a message of components says."""
    return json.dumps(message.components, ensure_ascii=False)


async def test_one_picture_comes_with_a_labelled_cell_for_each_value(scene: Scene) -> None:
    message = await scene.generate(sweep="steps 1 4", seed=7)
    assert [file.filename for file in message.attachments] == ["schnell-1-sweep.png"]
    image = await sheet(message)
    assert image.width == 2 * SIDE + GAP
    strip = np.asarray(image.convert("L"))[: image.height - SIDE]
    assert strip[:, :SIDE].max() > 200
    assert not np.array_equal(strip[:, :SIDE], strip[:, SIDE + GAP :])
    singles = [await scene.generate(steps=steps, seed=7) for steps in (1, 4)]
    for cell, single in zip(cells(image, 2), singles, strict=True):
        assert np.array_equal(cell, pixels(await single.attachments[0].read()))


async def test_the_message_says_what_was_varied_and_what_each_took(scene: Scene) -> None:
    message = await scene.generate(sweep="seed 2", seed=7, prompt="a green star")
    shown = fields(message)
    assert description(message) == "> a green star\nSweep: seed 7, 8"
    assert (shown["Seeds"], shown["Steps"], shown["Size"]) == ("7, 8", "4", "128×128")
    header, first, second = shown["Sweep"].split("```")[1].strip("\n").split("\n")
    assert header.split() == ["seed", "time", "peak"]
    for line, seed in ((first, "7"), (second, "8")):
        label, seconds, unit, *peak = line.split()
        assert (label, unit, peak[-1]) == (seed, "s", "GB")
        assert float(seconds) > 0
    assert "load" in shown["Time"]


async def test_each_original_is_kept_and_says_how_it_was_made_itself(scene: Scene) -> None:
    await scene.generate(sweep="model dev, schnell", seed=7, size="small square")
    said = [read_metadata(each) for each in await originals(scene, 1)]
    assert [(m["tool"], m["num_inference_steps"], m["guidance_scale"]) for m in said if m] == [
        ("dev", 28, 3.5),
        ("schnell", 4, None),
    ]
    assert not any("sweep" in each for each in said if each)


async def test_models_are_varied_with_their_own_steps(scene: Scene) -> None:
    message = await scene.generate(sweep="model schnell dev", seed=7)
    shown = fields(message)
    assert message.embeds[0].title == "FLUX.1 schnell, FLUX.1 dev"
    assert (shown["Steps"], shown["Guidance"]) == ("4, 28", "3.5")
    single = await scene.generate(model="dev", seed=7)
    assert np.array_equal(
        cells(await sheet(message), 2)[1], pixels(await single.attachments[0].read())
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"sweep": "steps " + ",".join(map(str, range(1, 18)))},
            "A sweep has 16 pictures at most, and this would be 17. Name fewer values.",
        ),
        ({"sweep": "steps 4 13"}, "`steps` is 13, but it goes from 1 to 12 here."),
        ({"sweep": "brightness 1 2"}, "`sweep` begins with what it varies: steps, guidance"),
        ({"sweep": "guidance 2 3"}, "FLUX.1 schnell is distilled and takes no `guidance`."),
        ({"sweep": "model schnell krea"}, "There is no model `krea` here."),
        ({"sweep": "steps 1 2", "count": 2}, "`count` and `sweep` do not go together."),
        ({"sweep": "steps 1 2", "steps": 4}, "`steps` does not go with a sweep of `steps`."),
    ],
)
async def test_what_cannot_be_swept_is_refused_in_private(
    scene: Scene, options: dict[str, Any], sentence: str
) -> None:
    assert (await scene.refused(**options)).startswith(sentence)
    assert not scene.app.jobs.busy


async def test_the_option_helps_to_type_it(scene: Scene) -> None:
    async def offered(typed: str, **options: Any) -> list[str]:
        choices = await scene.alice.autocomplete(
            scene.channel, "generate", "sweep", typed, prompt="x", **options
        )
        return [choice["value"] for choice in choices]

    first = await offered("")
    assert first == ["steps 1 2 4 8", "seed 4", "model schnell dev", "quantization 8-bit None"]
    assert "guidance 2 3.5 5" in await offered("", model="dev")
    assert await offered("St") == ["steps 1 2 4 8"]
    assert await offered("steps 2, 3") == ["steps 2, 3"]
    assert await offered("steps 2, 99") == []
    (choice,) = await scene.alice.autocomplete(
        scene.channel, "generate", "sweep", "guidance 2,5", prompt="x", model="dev"
    )
    assert choice["name"] == "guidance 2, 5 · 2 pictures"


async def test_only_models_that_are_on_are_offered(scene: Scene) -> None:
    await set_rules(scene, tools=["schnell"])
    choices = await scene.alice.autocomplete(scene.channel, "generate", "sweep", "", prompt="x")
    assert not any(choice["value"].startswith("model") for choice in choices)
    sentence = await scene.refused(sweep="model schnell dev")
    assert sentence == "FLUX.1 dev is switched off here. There is FLUX.1 schnell."


async def test_a_sweep_counts_in_the_members_limits(held_scene: Scene, held: HeldExecutor) -> None:
    await set_rules(held_scene, waiting_per_member=6)
    sixteen = "seed 16"
    assert await held_scene.refused(sweep=sixteen) == (
        "This sweep counts as 16 jobs, and 6 of yours at most may wait here."
    )
    await held_scene.begin(seed=1)
    await held.is_busy()
    await held_scene.begin(sweep="steps 1 2 4 8")
    assert (await held_scene.refused(sweep="seed 3")).startswith(
        "You have 4 jobs waiting already, and this sweep counts as 3."
    )
    await held_scene.begin(sweep="seed 2")
    assert (await held_scene.refused()).startswith("You have 6 jobs waiting already.")


async def test_progress_counts_over_all_pictures_and_a_cancel_ends_it_in_the_middle(
    held_scene: Scene, held: HeldExecutor
) -> None:
    message = await held_scene.begin(sweep="steps 4 8", seed=7)
    held.events.put_nowait(STEPS)
    await held.let_finish(0)
    held.events.put_nowait(replace(STEPS, step=2, total=8))
    await held.has_taken_all()
    async with asyncio.timeout(10):
        while "6/12" not in description(message):
            await asyncio.sleep(0.02)
    await held_scene.alice.click(message, label="Cancel")
    await held_scene.app.jobs.idle()
    assert description(message).endswith("Cancelled.")
    assert [each.num_inference_steps for each in held.cancelled] == [8]
    assert len(held.started) == 2
    assert await originals(held_scene, 1) == []


async def test_a_cancel_stops_the_models_themselves(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "PROGRESS_INTERVAL", 0.1)
    message = await scene.begin(sweep="steps 50 49 48 47", model="dev")
    async with asyncio.timeout(60):
        while "/194" not in description(message):
            await asyncio.sleep(0.02)
    await scene.alice.click(message, label="Cancel")
    await scene.app.jobs.idle()
    assert description(message).endswith("Cancelled.")
    assert message.attachments == []


async def test_a_restart_in_the_middle_makes_all_of_it_again(
    held_scene: Scene, held: HeldExecutor, executor: LocalExecutor
) -> None:
    message = await held_scene.begin(sweep="steps 1 4", seed=7, size="small square")
    await held.let_finish(0)
    await held.has_started(replace(held.started[0], num_inference_steps=4))
    tiny = held_scene.app.client.settings
    async with restarted(held_scene, replace(tiny, flux_models="tiny"), executor) as scene:
        await has_begun(scene.app.jobs)
        await scene.app.jobs.idle()
        assert (await scene.app.storage.job(1)).state == "delivered"
    assert [file.filename for file in message.attachments] == ["schnell-1-sweep.png"]
    assert len(await originals(held_scene, 1)) == 2


async def told_comparison(message: simcord.ResponseMessage) -> tuple[list[str], str]:
    """Return the rows and the words of a comparison."""
    _, block, said = fields(message)["Sweep"].split("```")
    return block.strip("\n").split("\n"), said


async def check_comparison(
    scene: Scene, message: simcord.ResponseMessage, job: Job, side: int
) -> None:
    """Check what is told of a comparison against what was stored of it."""
    rows, said = await told_comparison(message)
    assert rows[0].split() == ["time", "peak", "weights"]
    assert [row.split()[0] for row in rows[1:]] == ["8-bit", "None"]
    result = await scene.app.storage.result(job)
    eight_bit, full = result.cells
    assert (eight_bit.quantization, full.quantization) == ("8-bit", "None")
    assert eight_bit.weights < full.weights
    assert f"{eight_bit.weights / 1e6:.1f} MB" in rows[1]
    assert f"{full.weights / 1e6:.1f} MB" in rows[2]
    assert all("GB" in row for row in rows[1:])  # what this process took at most
    assert f"{1 - eight_bit.weights / full.weights:.0%}".replace("%", " %") in said
    first, second = (
        Image.open(io.BytesIO(each)).convert("RGB") for each in await originals(scene, job.id)
    )
    measured = float(ssim(to_pixels(first), to_pixels(second)))
    assert 0.5 < measured < 1
    assert f"(SSIM) is {measured:.4f}," in said
    for cell, original in zip(cells(await sheet(message), 2, side), (first, second), strict=True):
        assert np.array_equal(cell, np.asarray(original))


async def test_quantizations_are_compared_in_memory_time_and_likeness(scene: Scene) -> None:
    message = await scene.generate(sweep="quantization 8-bit None", seed=7)
    assert fields(message)["Quantization"] == "8-bit, None"
    await check_comparison(scene, message, await scene.app.storage.job(1), SIDE)


async def test_a_picture_made_from_an_image_is_compared_with_that_image(scene: Scene) -> None:
    await scene.alice.slash(
        scene.channel,
        "kontext",
        image=photo(),
        prompt="make the circle green",
        seed=7,
        count=2,
        steps=4,
    )
    message = await scene.generate()
    before, other = [await scene.app.storage.job(number) for number in (1, 2)]
    images = await scene.app.storage.inputs(before.id)
    request = replace(compare(before.request, 2), images=images)
    job = await scene.app.jobs.submit(request, other.origin)
    await scene.app.jobs.idle()
    job = await scene.app.storage.job(job.id)
    assert job.request.sweep is not None
    assert labels(job.request.sweep) == ("8-bit", "None")
    await check_comparison(scene, message, job, SIDE)
    eight_bit, _ = await originals(scene, job.id)
    assert np.array_equal(pixels(eight_bit), pixels((await originals(scene, before.id))[1]))


async def test_a_comparison_is_refused_where_the_quantization_is_locked(scene: Scene) -> None:
    await set_rules(scene, quantization_locked=True)
    assert await scene.refused(sweep="quantization 8-bit None") == (
        "`quantization` is always 8-bit here. So there is nothing to compare it with."
    )


async def test_a_spoiler_stays_one(scene: Scene) -> None:
    message = await scene.generate(sweep="steps 1 2", seed=7, spoiler=True)
    assert [file.filename for file in message.attachments] == ["SPOILER_schnell-1-sweep.png"]


@pytest.mark.parametrize("verdict", ["blur", "withhold"])
async def test_a_cell_that_is_not_for_everyone_is_hidden_on_the_sheet(
    held_scene: Scene, held: HeldExecutor, verdict: str
) -> None:
    await set_rules(held_scene, classifier=verdict)
    message = await held_scene.begin(sweep="seed 5 6", size="small square")
    noise = np.random.default_rng(0).integers(0, 256, (2, 512, 512, 3), np.uint8)
    for number, unsafe in enumerate((0.1, 0.9)):
        buffer = io.BytesIO()
        Image.fromarray(noise[number]).save(buffer, "PNG")
        async with asyncio.timeout(10):
            while len(held.started) <= number:
                await asyncio.sleep(0.01)
        made = result_for(held.started[number])
        held.events.put_nowait(replace(made, images=(buffer.getvalue(),), unsafe=(unsafe,)))
    await held_scene.app.jobs.idle()
    image = await sheet(message)
    seen, hidden = cells(image, 2, 512)
    assert np.array_equal(seen, noise[0])
    assert hidden.std() < 20  # of noise, whose deviation is 74
    spoiler = message.attachments[0].filename.startswith("SPOILER_")
    assert spoiler is (verdict == "blur")
    note = "blurred" if verdict == "blur" else "withheld"
    assert f"1 picture {note}" in fields(message)["Note"]
    assert all(each.classify for each in held.started)


async def test_the_history_shows_what_was_varied_and_makes_it_again(scene: Scene) -> None:
    await scene.generate(sweep="steps 1 2", seed=7)
    result = await scene.alice.slash(scene.channel, "history")
    message = result.response
    assert message is not None
    assert "Sweep: steps 1, 2" in words(message)
    await scene.alice.select(message, ["1"])
    assert "Sweep: steps 1, 2" in words(message)
    assert "**Steps** 1, 2" in words(message)
    assert "7, 7" not in words(message)
    again = await scene.alice.click(message, label="Use again")
    await scene.app.jobs.idle()
    assert again.response is not None
    assert "The pixels are the same as in job 1." in fields(again.response)["Note"]
    assert (await scene.app.storage.job(2)).request == (await scene.app.storage.job(1)).request


async def test_image_info_tells_of_the_sweep(scene: Scene) -> None:
    message = await scene.generate(sweep="steps 1 2", seed=7)
    posted = await scene.app.client.get_channel(scene.channel.id).fetch_message(  # type: ignore[union-attr]
        message.id
    )
    told = (await scene.bob.context_menu(scene.channel, "Image info", posted)).response
    assert told is not None
    assert "Sweep: steps 1, 2" in description(told)
    assert fields(told)["Steps"] == "1, 2"
    (file,) = told.attachments
    values = json.loads(await file.read())
    assert values["request"]["sweep"]["values"] == [1, 2]
    assert [cell["label"] for cell in values["outcome"]["cells"]] == ["1", "2"]
