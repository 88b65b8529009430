"""Bring the catalogues up to date with what the program says: `python -m tools.catalogue`.

New texts are added without a translation, and those that nobody says any more are taken out. For a
new language, name it: `python -m tools.catalogue de`. With `--check` nothing is written: it is said
what is missing or wrong.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po
from discord import AppCommandType, Locale, app_commands
from discord.app_commands import TranslationContextLocation as Location

import bot
from bot import i18n
from bot.client import EXTENSIONS, FluxBot
from bot.config import Settings
from bot.i18n import ENGLISH, languages
from bot.settings import KEYS
from bot.translator import translatable
from tools.catalogue_check import faults, note, untranslated
from tools.label_limits import label_limits

KEYWORDS = {"_": None, "N_": None, "counted": (1, 2)}
COMMANDS = "commands"
"""Where the texts of commands are said to be: discord.py knows the place, their source is all over
the cogs."""
SETTINGS = "bot/settings.py"
WIDTH = 100
HEADER = "# What the bot says, in another language. Kept up to date by tools/catalogue.py."

MENU_LIMIT, DESCRIPTION_LIMIT, TITLE_LIMIT = 32, 100, 45
"""Characters that Discord shows of the name of a context menu, of a description or a choice, and of
the title of a modal."""


def template() -> Catalog:
    """Return all texts of the program, with how long they may be where Discord limits that.

    They are those that its source marks, the names of the settings, and what Discord shows of the
    commands.
    """
    root, catalogue = Path(bot.__file__).parent, Catalog(charset="utf-8")
    found = extract_from_dir(root, method_map=[("**.py", "python")], keywords=KEYWORDS)
    for path, _line, text, _comments, _context in found:
        catalogue.add(text, locations=[(f"bot/{Path(path).as_posix()}", None)])  # type: ignore[list-item]
    for key in KEYS.values():
        _add(catalogue, key.term, SETTINGS, TITLE_LIMIT)
    for text, limit in asyncio.run(_command_texts()):
        _add(catalogue, text, COMMANDS, limit)
    for text, limit in sorted(set(label_limits(root))):
        _add(catalogue, text, "", limit)
    return catalogue


def _add(catalogue: Catalog, text: str, location: str, limit: int) -> None:
    """Add a text that may only be so long, or that limit to one that is there."""
    places: list[Any] = [(location, None)] if location else []
    catalogue.add(text, locations=places, auto_comments=[note(limit)])


def file_of(language: str) -> Path:
    """Return where the catalogue of a language is, or will be."""
    return i18n.LOCALES / f"{language}.po"


def read(language: str) -> Catalog:
    """Return the catalogue of a language as it is; empty if there is none yet."""
    path, locale = file_of(language), language.replace("-", "_")
    if not path.exists():
        return Catalog(locale=locale, charset="utf-8", header_comment=HEADER, fuzzy=False)
    with path.open("rb") as file:
        return read_po(file, locale=locale)


def update(language: str) -> Catalog:
    """Return the catalogue of a language with the texts of today."""
    catalogue = read(language)
    # no guesses: a sentence that reads much like another may say the contrary
    catalogue.update(template(), no_fuzzy_matching=True, update_creation_date=False)
    catalogue.obsolete.clear()
    return catalogue


class _Listener(app_commands.Translator):
    """Translates nothing, and notes what it is asked for, with how long that may be."""

    def __init__(self) -> None:
        self.heard: dict[tuple[str, int], None] = {}

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: Locale,
        context: app_commands.TranslationContextTypes,
    ) -> str | None:
        if text := translatable(string, context):
            is_name = context.location is Location.command_name
            limit = MENU_LIMIT if is_name else DESCRIPTION_LIMIT
            beside = len(string.message) - len(text)  # as the numbers of a size
            self.heard[text, limit - beside] = None
        return None


async def _command_texts() -> list[tuple[str, int]]:
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


def discords(name: str) -> str:
    """Return a language by Discord's name for it, or without its country; refuse what is none."""
    names = [locale.value for locale in Locale]
    known = {*names, *(each.partition("-")[0] for each in names)}
    if name not in known - {ENGLISH}:
        raise argparse.ArgumentTypeError(f"Discord knows no language {name}, or it is English")
    return name


def _write(language: str) -> None:
    catalogue = update(language)
    with file_of(language).open("wb") as file:
        write_po(file, catalogue, width=WIDTH, sort_output=True)
    missing = len(untranslated(catalogue))
    print(f"{language}: {len(catalogue)} texts, {missing} without a translation")


def _faults(chosen: list[str]) -> Iterator[str]:
    wanted = template()
    for language in chosen:
        yield from (f"{language}: {fault}" for fault in faults(read(language), wanted))


def main(arguments: Sequence[str] | None = None) -> None:
    """Update the catalogues that there are, and those that are named; or only check them."""
    parser = argparse.ArgumentParser(prog="python -m tools.catalogue", description=__doc__)
    parser.add_argument("language", nargs="*", type=discords, help="as Discord calls it: de, pt-BR")
    parser.add_argument("--check", action="store_true", help="write nothing, say what is wrong")
    options = parser.parse_args(arguments)
    chosen = sorted({*languages(), *options.language} - {ENGLISH})
    if options.check:
        found = list(_faults(chosen))
        print(*found, sep="\n")
        raise SystemExit(bool(found))
    for language in chosen:
        _write(language)


if __name__ == "__main__":
    main()
