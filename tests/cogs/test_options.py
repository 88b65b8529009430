"""The commands as Discord is told of them, and what of their options reaches the models."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import simcord
from discord import AppCommandOptionType, AppCommandType, app_commands

from bot.config import Settings
from bot.inference.previews import MaskPreviews
from bot.inference.regions import AREAS
from bot.inference.tools import TOOLS, Family
from bot.inference.types import Region
from tests.cogs.messages import description, fields, mask, photo, refusal
from tests.conftest import Scene, open_scene
from tests.doubles import HeldExecutor

COMMON = ["steps", "guidance", "seed", "count", "quantization", "private", "spoiler"]

OWN = {
    "generate": ["prompt", "model", "size", "sweep"],
    "fill": ["image", "prompt", "mask", "area", "left", "right", "top", "bottom", "preview"],
    "kontext": ["image", "prompt", "size"],
    "depth": ["image", "prompt"],
    "canny": ["image", "prompt", "low", "high"],
    "redux": ["image", "image2", "image3", "image4", "strength", "prompt"],
}

REQUIRED = {"generate": ["prompt"], "redux": ["image"]}

RANGES: dict[str, tuple[float, float]] = {
    "steps": (1, 50),
    "seed": (0, 4294967295),
    "count": (1, 4),
    "prompt": (1, 2000),
    "sweep": (1, 200),
    "low": (1, 255),
    "high": (1, 255),
    "strength": (0.1, 1.0),
    **dict.fromkeys(("left", "right", "top", "bottom"), (0, 100)),
}


OTHERS = ("queue", "cancel", "memory", "history", "privacy", "help")


def parameters(scene: Scene) -> dict[str, dict[str, app_commands.Parameter]]:
    """Return the options of each tool's command by its name."""
    commands = scene.app.client.tree.get_commands(type=AppCommandType.chat_input)
    return {
        command.name: {parameter.name: parameter for parameter in command.parameters}
        for command in commands
        if isinstance(command, app_commands.Command) and command.name not in OTHERS
    }


async def send(scene: Scene, command: str, **options: Any) -> simcord.InteractionResult:
    """Send a command as Alice, with a photo where it needs one."""
    return await scene.alice.slash(scene.channel, command, **{"image": photo()} | options)


async def test_every_tool_has_a_command_with_the_options_of_the_contract(
    held_scene: Scene,
) -> None:
    found = parameters(held_scene)
    assert {name: list(options) for name, options in found.items()} == {
        name: [*own, *COMMON] for name, own in OWN.items()
    }
    for name, options in found.items():
        required = [each for each, option in options.items() if option.required]
        assert required == REQUIRED.get(name, ["image", "prompt"])


async def test_every_range_is_that_of_the_contract_and_of_the_tool(held_scene: Scene) -> None:
    for name, options in parameters(held_scene).items():
        tool = TOOLS["dev" if name == "generate" else name]
        assert tool.guidance is not None
        ranges = RANGES | {"guidance": (tool.guidance.low, tool.guidance.high)}
        found = {
            each: (option.min_value, option.max_value)
            for each, option in options.items()
            if option.max_value is not None
        }
        assert found == {each: ranges[each] for each in options if each in ranges}


async def test_every_option_is_described_in_what_discord_takes(held_scene: Scene) -> None:
    for options in parameters(held_scene).values():
        for name, option in options.items():
            assert 5 < len(str(option.description)) <= 100
            wants_file = option.type is AppCommandOptionType.attachment
            assert wants_file == (name.startswith("image") or name == "mask")


@pytest.mark.parametrize("missing", ["fill", "kontext", "depth", "canny", "redux"])
async def test_a_tool_whose_weights_are_missing_is_not_offered(
    missing: str, settings: Settings, previews: MaskPreviews, monkeypatch: pytest.MonkeyPatch
) -> None:
    flux = dataclasses.replace(settings, flux_models="flux")
    monkeypatch.setattr(Family, "_has", lambda _, tool: tool.name != missing)
    async with open_scene(flux, HeldExecutor(), previews=previews) as scene:
        assert set(parameters(scene)) == set(OWN) - {missing}


COMMON_VALUES: dict[str, Any] = {"steps": 9, "seed": 7, "count": 2, "quantization": "None"}


@pytest.mark.parametrize(
    ("command", "options", "expected"),
    [
        ("kontext", {"prompt": "make it red"}, {"width": None, "height": None}),
        ("kontext", {"prompt": "make it red", "size": "wide"}, {"width": 1344, "height": 768}),
        ("depth", {"prompt": "a hill", "guidance": 20.0}, {"guidance_scale": 20.0}),
        ("canny", {"prompt": "a hill"}, {"low": 100, "high": 200}),
        ("canny", {"prompt": "a hill", "low": 10, "high": 20}, {"low": 10, "high": 20}),
        ("redux", {"strength": 0.4}, {"prompt": "", "strength": 0.4}),
        ("redux", {"prompt": "at night"}, {"prompt": "at night", "strength": 1.0}),
        (
            "fill",
            {
                "prompt": "a hat",
                "preview": "off",
                "area": "10 20 30 40",
                "left": 1,
                "right": 2,
                "top": 3,
                "bottom": 4,
            },
            {"region": Region(area="10 20 30 40", left=1, right=2, top=3, bottom=4)},
        ),
    ],
)
async def test_all_options_reach_the_models(
    held_scene: Scene,
    held: HeldExecutor,
    command: str,
    options: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    result = await send(held_scene, command, **COMMON_VALUES, **options)
    assert result.response is not None
    assert not result.response.ephemeral
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    (request,) = held.started
    assert request.tool == command
    assert (request.num_inference_steps, request.seed, request.count) == (9, 7, 2)
    assert request.quantization == "None"
    assert {name: getattr(request, name) for name in expected} == expected
    assert request.images == {"image": photo()[1]}


async def test_all_images_of_a_blend_reach_the_models(
    held_scene: Scene, held: HeldExecutor
) -> None:
    images = {f"image{n}": photo(colour=c) for n, c in ((2, "green"), (4, "black"))}
    result = await send(held_scene, "redux", **images)
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    assert held.started[0].images == {
        "image": photo()[1],
        "image2": photo(colour="green")[1],
        "image4": photo(colour="black")[1],
    }
    assert result.response is not None
    assert fields(result.response)["Images"] == "3"
    assert description(result.response) == "Variation of 3 images."


@pytest.mark.parametrize("command", ["kontext", "depth", "canny", "redux"])
async def test_a_private_answer_is_seen_by_its_member_alone(
    held_scene: Scene, held: HeldExecutor, command: str
) -> None:
    result = await send(held_scene, command, prompt="a hat", private=True, spoiler=True)
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    assert result.response is not None
    assert result.response.ephemeral
    assert [a.filename for a in result.response.attachments] == [f"SPOILER_{command}-1-1.png"]
    assert held_scene.channel.history(viewer=held_scene.bob) == []


@pytest.mark.parametrize(
    ("command", "options", "sentence"),
    [
        ("kontext", {"prompt": "  "}, "The prompt is empty."),
        ("canny", {"prompt": "x", "low": 200}, "`low` is 200 and `high` is 200"),
        ("fill", {"prompt": "x", "area": "10 20"}, "`area` is neither a name nor"),
        ("fill", {"prompt": "x", "area": "90 0 50 50"}, "`area` reaches out of the picture."),
        ("redux", {"prompt": " "}, "The prompt is empty."),
        ("depth", {"prompt": "x", "image": ("a.mp4", b"x")}, "`image` is no image, but video/mp4."),
        ("fill", {"prompt": "x", "mask": ("a.txt", b"x")}, "`mask` is no image, but text/plain."),
    ],
)
async def test_what_is_wrong_at_a_glance_is_refused_in_private_before_anything_is_read(
    held_scene: Scene,
    held: HeldExecutor,
    command: str,
    options: dict[str, Any],
    sentence: str,
) -> None:
    result = await send(held_scene, command, **options)
    assert not result.deferred
    assert refusal(held_scene, result).startswith(sentence)
    assert held.started == []


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("", [*AREAS, "25 25 50 50"]),
        ("Ha", ["left half", "right half", "top half", "bottom half"]),
        ("bor", ["border"]),
        ("10 20", ["10 20 50 50"]),
        ("10 20 30 40", ["10 20 30 40"]),
        ("the sky", []),
    ],
)
async def test_areas_are_offered_as_they_are_typed_and_four_numbers_stay_possible(
    held_scene: Scene, typed: str, offered: list[str]
) -> None:
    choices = await held_scene.alice.autocomplete(held_scene.channel, "fill", "area", typed)
    assert [choice["value"] for choice in choices] == offered


async def test_a_mask_that_is_attached_reaches_the_models(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await send(held_scene, "fill", prompt="a hat", mask=mask(), preview="off")
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    assert held.started[0].images == {"image": photo()[1], "mask": mask()[1]}
