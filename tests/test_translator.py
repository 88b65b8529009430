"""What Discord is told of the commands in other languages than English."""

from __future__ import annotations

from typing import Any

import discord
import pytest
from discord import Locale, app_commands
from discord.app_commands import Choice, TranslationContext, locale_str
from discord.app_commands import TranslationContextLocation as Location

from bot.translator import CatalogueTranslator
from tests.catalogues import Catalogues

FRENCH = {
    "Paint a picture.": "Peindre une image.",
    "square": "carré",
    "Image info": "Infos sur l'image",
    "generate": "générer",
}


@app_commands.command()
async def generate(interaction: discord.Interaction) -> None:
    """Paint a picture."""


@app_commands.context_menu(name="Image info")
async def image_info(interaction: discord.Interaction, message: discord.Message) -> None:
    """Tell how a picture came about."""


SIZE = Choice(name=locale_str("square 1024×1024", word="square"), value="square")


async def told(
    location: Location, data: Any, said: str | locale_str, locale: Locale = Locale.french
) -> str | None:
    """Return what Discord is told of a text in a language."""
    text = said if isinstance(said, locale_str) else locale_str(said)
    return await CatalogueTranslator().translate(text, locale, TranslationContext(location, data))


@pytest.mark.parametrize(
    ("location", "data", "said", "french"),
    [
        (Location.command_description, generate, "Paint a picture.", "Peindre une image."),
        (Location.choice_name, SIZE, SIZE._locale_name, "carré 1024×1024"),
        (Location.command_name, image_info, "Image info", "Infos sur l'image"),
        (Location.command_name, generate, "generate", None),
        (Location.parameter_name, None, "square", None),
        (Location.group_name, None, "square", None),
    ],
)
async def test_what_people_read_is_translated_and_what_they_type_is_not(
    catalogues: Catalogues, location: Location, data: Any, said: str, french: str | None
) -> None:
    catalogues.add("fr", FRENCH)
    assert await told(location, data, said) == french


async def test_clients_of_other_languages_are_shown_the_english(catalogues: Catalogues) -> None:
    catalogues.add("fr", FRENCH)
    for locale in (Locale.british_english, Locale.german):
        said = await told(Location.command_description, generate, "Paint a picture.", locale)
        assert said is None
