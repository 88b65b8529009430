"""Bring the catalogues up to date with what the program says: `python -m tools.catalogue`.

New texts are added without a translation, and those that nobody says any more are taken out. For a
new language, name it: `python -m tools.catalogue de`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po
from discord import AppCommandType, Locale, app_commands

import bot
from bot.client import EXTENSIONS, FluxBot
from bot.config import Settings
from bot.i18n import ENGLISH, LOCALES, languages
from bot.translator import translatable

KEYWORDS = {"_": None, "N_": None, "counted": (1, 2)}
COMMANDS = "commands"
"""Where the texts of commands are said to be: discord.py knows the place, their source is all over
the cogs."""
WIDTH = 100
HEADER = "# What the bot says, in another language. kept up to date by tools/catalogue.py."


def template() -> Catalog:
    """Return all texts of the program: those that its source marks, and those of its commands."""
    catalogue = Catalog(charset="utf-8")
    root = Path(bot.__file__).parent
    found = extract_from_dir(root, method_map=[("**.py", "python")], keywords=KEYWORDS)
    for path, _line, text, _comments, _context in found:
        catalogue.add(text, locations=[(f"bot/{Path(path).as_posix()}", None)])  # type: ignore[list-item]
    for text in asyncio.run(_command_texts()):
        catalogue.add(text, locations=[(COMMANDS, None)])  # type: ignore[list-item]
    return catalogue


def update(language: str) -> Catalog:
    """Return the catalogue of a language with the texts of today."""
    path, locale = LOCALES / f"{language}.po", language.replace("-", "_")
    catalogue = Catalog(locale=locale, charset="utf-8", header_comment=HEADER, fuzzy=False)
    if path.exists():
        with path.open("rb") as file:
            catalogue = read_po(file, locale=locale)
    # no guesses: a sentence that reads much like another may say the contrary
    catalogue.update(template(), no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    return catalogue


def untranslated(catalogue: Catalog) -> list[str]:
    """Return the texts that have no translation, or not one for each number of things."""
    texts = [each for each in catalogue if each.id]
    return [
        str(each.id)
        for each in texts
        if not each.string or (each.pluralizable and not all(each.string))
    ]


class _Listener(app_commands.Translator):
    """Translates nothing, and notes what it is asked for."""

    def __init__(self) -> None:
        self.heard: dict[str, None] = {}

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: Locale,
        context: app_commands.TranslationContextTypes,
    ) -> str | None:
        if text := translatable(string, context):
            self.heard[text] = None
        return None


async def _command_texts() -> list[str]:
    """Return what Discord shows of the commands, as discord.py has it translated."""
    storage: Any = None  # no command is given
    client = FluxBot(Settings(flux_models="flux"), storage)
    for extension in EXTENSIONS:
        await client.load_extension(extension)
    listener = _Listener()
    for kind in (AppCommandType.chat_input, AppCommandType.message):
        for command in client.tree.get_commands(type=kind):
            await command.get_translated_payload(client.tree, listener)
    return list(listener.heard)


def main() -> None:
    """Update the catalogues that there are, and those that are named."""
    for language in sorted({*languages(), *sys.argv[1:]} - {ENGLISH}):
        catalogue = update(language)
        with (LOCALES / f"{language}.po").open("wb") as file:
            write_po(file, catalogue, width=WIDTH, sort_output=True)
        missing = len(untranslated(catalogue))
        print(f"{language}: {len(catalogue)} texts, {missing} without a translation")


if __name__ == "__main__":
    main()
