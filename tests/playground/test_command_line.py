"""The text of a slash command: what it means, and what is said where it is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import discord
import pytest
from discord import app_commands

from bot.playground.command_line import BadCommand, Offered, Value, read


@app_commands.command()
@app_commands.choices(
    model=[app_commands.Choice(name="FLUX.1 dev", value="dev")],
    quantization=[app_commands.Choice(name=value, value=value) for value in ("8-bit", "None")],
)
async def generate(
    interaction: discord.Interaction[Any],
    prompt: app_commands.Range[str, 2, 20],
    model: str | None = None,
    steps: app_commands.Range[int, 1, 50] | None = None,
    guidance: app_commands.Range[float, 0.5, None] | None = None,
    seed: int | None = None,
    quantization: str | None = None,
    private: bool = False,
) -> None:
    """Make a picture."""


@app_commands.command()
async def fill(
    interaction: discord.Interaction[Any],
    image: discord.Attachment,
    prompt: str,
    member: discord.Member | None = None,
) -> None:
    """Repaint a picture."""


@app_commands.command()
async def queue(interaction: discord.Interaction[Any]) -> None:
    """Show what waits."""


settings = app_commands.Group(name="settings", description="Of this server")


@settings.command()
async def show(interaction: discord.Interaction[Any]) -> None:
    """Show the settings."""


COMMANDS: list[Offered] = [generate, fill, queue, settings]


def options(text: str) -> dict[str, Value]:
    return dict(read(text, COMMANDS).options)


def complaint(text: str) -> str:
    with pytest.raises(BadCommand) as raised:
        read(text, COMMANDS)
    return str(raised.value)


def test_options_have_the_types_that_the_bot_declares() -> None:
    invocation = read(
        "/generate prompt:a red circle steps:4 guidance:3.5 seed:4294967295 private:True", COMMANDS
    )
    assert invocation.command == "generate"
    assert invocation.options == {
        "prompt": "a red circle",
        "steps": 4,
        "guidance": 3.5,
        "seed": 4294967295,
        "private": True,
    }
    assert isinstance(invocation.options["steps"], int)
    assert isinstance(invocation.options["guidance"], float)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("prompt:a sign: hello", "a sign: hello"),
        ("prompt: around it  ", "around it"),
        ("prompt:two\nlines", "two\nlines"),
        ("prompt:no-seed:7 steps:4", "no-seed:7"),
        ("prompt:seed:7", "seed:7"),
        ('prompt:"steps:4 in it" seed:7', "steps:4 in it"),
        (r'prompt:"a \"quoted\" word"', 'a "quoted" word'),
        (r'prompt:"back\\slash"', "back\\slash"),
        ('prompt:"yes" or "no"', '"yes" or "no"'),
        ('prompt:"open', '"open'),
        ("prompt:日本の猫", "日本の猫"),
    ],
)
def test_a_text_reaches_to_the_next_option(text: str, prompt: str) -> None:
    assert options(f"/generate {text}")["prompt"] == prompt


def test_options_come_in_any_order_and_without_the_slash() -> None:
    assert options("generate seed:7 prompt:a cat") == {"seed": 7, "prompt": "a cat"}


@pytest.mark.parametrize("text", ["dev", "DEV", "FLUX.1 dev"])
def test_a_choice_goes_by_its_name_or_its_value(text: str) -> None:
    assert options(f"/generate prompt:a cat model:{text}")["model"] == "dev"


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("FALSE", False), ('"true"', True)])
def test_a_switch_is_said_in_words(text: str, value: bool) -> None:
    assert options(f"/generate prompt:a cat private:{text}")["private"] is value


def test_an_attachment_is_a_path() -> None:
    given = options("/fill image:my pictures/cat.png prompt:a hat")
    assert given == {"image": Path("my pictures/cat.png"), "prompt": "a hat"}
    assert options("/fill prompt:a hat image:~/cat.png")["image"] == Path.home() / "cat.png"


def test_a_command_of_a_group_is_found() -> None:
    assert read("/settings  show ", COMMANDS).command == "settings show"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "A command is missing: the bot offers `/generate`, `/fill`, `/queue`, `/settings`."),
        (
            "/paint a cat",
            "There is no command `/paint`: the bot offers "
            "`/generate`, `/fill`, `/queue`, `/settings`.",
        ),
        ("/settings", "A command is missing: the bot offers `/settings show`."),
        (
            "/settings reset",
            "There is no command `/settings reset`: the bot offers `/settings show`.",
        ),
        ("/generate", "`/generate` needs `prompt` as well."),
        ("/fill", "`/fill` needs `image`, `prompt` as well."),
        (
            "/fill a cat",
            "`a cat` belongs to no option of `/fill`: write `name:value`, where the name is one of "
            "`image`, `prompt`, `member`.",
        ),
        (
            "/fill picture:cat.png",
            "`/fill` has no option `picture`: it takes `image`, `prompt`, `member`.",
        ),
        ("/queue now", "`/queue` takes no options, so `now` is too much."),
        (
            "/generate prompt:a cat prompt:a dog",
            "`prompt` is given twice; a text that contains it goes in quotes.",
        ),
        ("/generate prompt:", "`prompt` is empty: it takes a text of 2 to 20 characters."),
        ("/generate prompt:x", "`prompt` takes a text of 2 to 20 characters, not `x`."),
        (
            "/generate prompt:a cat steps:99",
            "`steps` takes a whole number from 1 to 50, not `99`.",
        ),
        (
            "/generate prompt:a cat steps:2.5",
            "`steps` takes a whole number from 1 to 50, not `2.5`.",
        ),
        (
            "/generate prompt:a cat guidance:0",
            "`guidance` takes a number of at least 0.5, not `0`.",
        ),
        (
            "/generate prompt:a cat guidance:nan",
            "`guidance` takes a number of at least 0.5, not `nan`.",
        ),
        ("/generate prompt:a cat seed:many", "`seed` takes a whole number, not `many`."),
        (
            "/generate prompt:a cat quantization:4-bit",
            "`quantization` takes one of `8-bit`, `None`, not `4-bit`.",
        ),
        (
            "/generate prompt:a cat private:maybe",
            "`private` takes `true` or `false`, not `maybe`.",
        ),
        (
            "/fill image:cat.png prompt:a hat member:me",
            "`member` takes a user, which only a real server has.",
        ),
    ],
)
def test_a_wrong_text_is_answered_with_what_is_allowed(text: str, sentence: str) -> None:
    assert complaint(text) == sentence


def test_a_misspelt_option_after_a_number_is_named() -> None:
    assert complaint("/generate prompt:a cat steps:4 modle:dev").startswith(
        "`/generate` has no option `modle`: it takes `prompt`, `model`,"
    )


def test_a_number_beyond_any_size_is_out_of_range() -> None:
    assert complaint(f"/generate prompt:a cat steps:{'9' * 400}").endswith("9...`.")


def test_a_long_value_is_cut_in_the_sentence() -> None:
    assert complaint(f"/generate prompt:{'x' * 5000}") == (
        f"`prompt` takes a text of 2 to 20 characters, not `{'x' * 60}...`."
    )
