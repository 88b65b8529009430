"""What Discord shows of the commands, in the languages that there are."""

from __future__ import annotations

from discord import Locale, app_commands
from discord.app_commands import TranslationContextLocation as Location

from bot.i18n import ENGLISH, _, best_language, speaking

KEPT = {Location.command_name, Location.group_name, Location.parameter_name}
"""What people type: the same everywhere, so that one can tell another what to type."""


class CatalogueTranslator(app_commands.Translator):
    """Translates descriptions, choices and the names of context menus by the catalogues."""

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: Locale,
        context: app_commands.TranslationContextTypes,
    ) -> str | None:
        """Return a text in the language of a locale, None where it stays as it is."""
        language, text = best_language(locale.value), translatable(string, context)
        if language == ENGLISH or text is None:
            return None
        with speaking(language):
            return string.message.replace(text, _(text))


def translatable(
    string: app_commands.locale_str, context: app_commands.TranslationContextTypes
) -> str | None:
    """Return the part of a text that is translated, None where it is the same everywhere.

    A text may name that part as its `word`: numbers beside it are the same in all languages.
    """
    is_menu = isinstance(context.data, app_commands.ContextMenu)
    if context.location in KEPT and not is_menu:
        return None
    return str(string.extras.get("word", string.message))
