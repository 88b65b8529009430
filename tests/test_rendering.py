"""How messages are drawn: one picture below an embed, several as one gallery."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import discord
import pytest

from bot.cogs._buttons import CancelButton
from bot.colours import accent
from bot.inference.types import Region
from bot.messages import compose, with_note
from bot.rendering import LAYOUT_LIMIT, Message, Rows

from .test_messages import JOB
from .test_storage import ORIGIN, REQUEST, RESULT

ALONE = replace(RESULT, images=(b"one",), seeds=(7,))


def drawn(message: Message, rows: Rows = (), lead: str = "") -> list[dict[str, Any]]:
    """Return the components of a layout, as Discord gets them."""
    return message.layout(rows, lead).to_components()


def walked(components: list[dict[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for component in components:
        yield component
        yield from walked(component.get("components", []))


def texts(components: list[dict[str, Any]]) -> list[str]:
    return [each["content"] for each in walked(components) if each["type"] == 10]


def row() -> list[discord.ui.Item[Any]]:
    return [CancelButton(7), CancelButton(8)]


def select() -> discord.ui.Item[Any]:
    options = [discord.SelectOption(label="a"), discord.SelectOption(label="b")]
    return discord.ui.Select(custom_id="one", options=options)


def test_several_pictures_are_one_gallery_in_their_order_each_with_its_alt_text() -> None:
    hidden = replace(JOB, origin=replace(ORIGIN, spoiler=True), request=replace(REQUEST, count=3))
    result = replace(RESULT, images=(b"one", b"two", b"three"))
    message = compose(hidden, result)
    (container,) = drawn(message)
    (gallery,) = (each for each in container["components"] if each["type"] == 12)
    names = [f"SPOILER_dev-12-{number}.png" for number in (1, 2, 3)]
    assert [each["media"]["url"] for each in gallery["items"]] == [
        f"attachment://{name}" for name in names
    ]
    assert [file.filename for file in message.arguments()["attachments"]] == names
    assert {each["description"] for each in gallery["items"]} == {"a «cat» 🐈"}
    assert all(each["spoiler"] for each in gallery["items"])


def test_a_control_image_comes_last_in_the_gallery_and_is_never_a_spoiler() -> None:
    hidden = replace(
        JOB, origin=replace(ORIGIN, spoiler=True), request=replace(REQUEST, tool="depth")
    )
    (container,) = drawn(compose(hidden, replace(RESULT, control_image=b"depth")))
    (gallery,) = (each for each in container["components"] if each["type"] == 12)
    assert [each["spoiler"] for each in gallery["items"]] == [True, True, False]
    assert gallery["items"][-1]["description"].startswith("The depth that the picture follows")


@pytest.mark.parametrize("control_image", [None, b"edges"])
def test_one_picture_stays_below_an_embed(control_image: bytes | None) -> None:
    canny = replace(JOB, request=replace(REQUEST, tool="canny"))
    message = compose(canny, replace(ALONE, control_image=control_image))
    assert not message.is_gallery
    arguments = message.arguments([row()])
    assert arguments["embed"].footer.text == "Job 12"
    assert [each.custom_id for each in arguments["view"].children] == ["cancel:7", "cancel:8"]
    assert message.arguments()["view"] is None  # takes away the buttons that were there


def test_a_gallery_says_what_an_embed_says_in_the_same_order() -> None:
    result = replace(RESULT, notes=("Cut.",))
    message = compose(JOB, result)
    embed = message.embed
    title, facts, footer = texts(drawn(message))
    assert title == f"### {embed.title}\n{embed.description}"
    assert footer == f"-# {embed.footer.text}" == "-# Job 12"
    last = -1
    for field in embed.fields:
        place = facts.index(f"**{field.name}** {field.value}")
        assert place > last
        last = place


def test_both_have_the_colour_of_their_tool() -> None:
    for tool in ("dev", "redux"):
        job = replace(JOB, request=replace(REQUEST, tool=tool))
        (container,) = drawn(compose(job, RESULT))
        assert container["accent_color"] == accent(tool).value
        assert compose(job, ALONE).embed.colour == accent(tool)


def test_buttons_and_menus_stand_below_a_gallery_row_by_row() -> None:
    container, first, second = drawn(compose(JOB, RESULT), [row(), [], [select()]])
    assert container["type"] == 17
    assert [each["custom_id"] for each in first["components"]] == ["cancel:7", "cancel:8"]
    assert [each["type"] for each in second["components"]] == [3]


def test_the_buttons_of_an_embed_keep_their_rows() -> None:
    view = compose(JOB, ALONE).arguments([row(), [select()]])["view"]
    first, second = view.to_components()
    assert [each["custom_id"] for each in first["components"]] == ["cancel:7", "cancel:8"]
    assert [each["custom_id"] for each in second["components"]] == ["one"]


def test_an_edit_to_a_gallery_clears_what_discord_takes_beside_none() -> None:
    arguments = compose(JOB, RESULT).arguments()
    assert (arguments["content"], arguments["embed"]) == (None, None)
    assert arguments["view"].has_components_v2()
    assert arguments["allowed_mentions"].to_dict() == {"parse": []}


def test_a_new_gallery_begins_with_its_text_where_an_embed_has_it_beside() -> None:
    arguments = compose(JOB, RESULT).new_arguments(lead="<@1>, this is yours.")
    assert arguments["content"] is None
    first, _ = arguments["view"].to_components()
    assert first["content"] == "<@1>, this is yours."
    assert len(arguments["files"]) == 2
    assert compose(JOB, ALONE).new_arguments(lead="<@1>")["content"] == "<@1>"


def test_a_note_is_the_last_fact_of_a_gallery_too() -> None:
    message = with_note(compose(JOB, replace(RESULT, notes=("Cut.",))), "Sent as WebP.")
    assert texts(drawn(message))[1].endswith("**Note** Sent as WebP.\nCut.")


def test_a_gallery_stays_inside_discords_limits_and_keeps_what_is_short() -> None:
    request = replace(
        REQUEST,
        tool="fill",
        prompt="*_`|" * 500,
        region=Region(area="10 " * 2000, adjustments=("grow", "shrink") * 100),
    )
    result = replace(RESULT, notes=("note " * 400,), fallback_reason="reason " * 300)
    rows = [[CancelButton(n * 5 + each) for each in range(5)] for n in range(4)] + [[select()]]
    components = drawn(compose(replace(JOB, request=request), result), rows, "<@1> " * 30)
    said = texts(components)
    assert sum(map(len, said)) <= LAYOUT_LIMIT
    assert len(list(walked(components))) <= 40
    assert "**Seeds** 4294967295, 0" in said[2]
    assert said[-1] == "-# Job 12"
