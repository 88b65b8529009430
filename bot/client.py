"""The Discord client: extensions, the command tree, and one funnel for all errors."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import aiohttp
import discord
from discord import app_commands
from discord.ext import commands

from bot.config import Settings
from bot.errors import BotError, ConfigurationError, StorageError, defect_sentence
from bot.i18n import _, best_language, speak
from bot.inference.tools import FAMILIES, Family
from bot.presses import Presses
from bot.translator import CatalogueTranslator

if TYPE_CHECKING:
    from bot.inference.executor import Executor
    from bot.inference.finder import MaskFinder
    from bot.inference.previews import MaskPreviews
    from bot.jobs import Jobs
    from bot.leavers import Leavers
    from bot.policy import Policy
    from bot.removals import Removals
    from bot.storage import Storage

_log = logging.getLogger(__name__)

ALREADY_ACKNOWLEDGED = 40060
"""Discord's code when it took an acknowledgement whose answer was lost on the way to us."""

INTENTS = discord.Intents(guilds=True, guild_messages=True)
"""No privileged ones; of messages only their deletion counts, which calls off a job."""

UNKNOWN_INTERACTION = 10062
"""Discord's code for an acknowledgement that came after more than three seconds."""

GIVEN_BACK = 1500
"""Characters of what was typed that fit beside the reason why it was in vain."""

MESSAGE_LIMIT = 2000
"""Characters of a message that Discord takes."""

EXTENSIONS = tuple(
    f"bot.cogs.{name}"
    for name in (
        "generate",
        "fill",
        "kontext",
        "depth",
        "canny",
        "redux",
        "queue",
        "memory",
        "help",
        "settings",
        "history",
        "image_info",
        "pictures",
        "privacy",
        "departures",
    )
)


class FluxBot(commands.AutoShardedBot):
    """The client, and what its cogs need; what has no value here is set before it starts.

    It has as many connections to Discord as that recommends, if SHARD_COUNT does not say how many.
    """

    executor: Executor
    jobs: Jobs
    policy: Policy
    previews: MaskPreviews
    finder: MaskFinder
    leavers: Leavers
    removals: Removals

    def __init__(self, settings: Settings, storage: Storage) -> None:
        # discord.py warns of missing packages for voice, which this bot does not use
        discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            tree_cls=FluxTree,
            intents=INTENTS,
            max_messages=None,
            allowed_mentions=discord.AllowedMentions.none(),
            shard_count=settings.shard_count,
        )
        self.settings = settings
        self.storage = storage
        self.draft_turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        """For each draft that is being acted on: clicks on it are worked off one by one."""
        self.panel_turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        """For each panel of settings that is being changed, by its message, likewise."""
        self.exporting: set[int] = set()
        """The members whose exports are put together: that takes room, so one at a time each."""
        self.presses = Presses()
        self.process_id = secrets.token_hex(4)
        """Tells what this process has sent from what an earlier one did."""
        self._mentions: Mapping[str, str] = {}

    @property
    def family(self) -> Family:
        """The family of weights that the commands offer."""
        return FAMILIES[self.settings.flux_models]

    async def setup_hook(self) -> None:
        """Load the cogs and tell Discord of the commands, in all languages."""
        await self.tree.set_translator(CatalogueTranslator())
        for extension in EXTENSIONS:
            await self.load_extension(extension)
        if self.settings.dev_guild_id is None:
            self._note_ids(await self.tree.sync())
            return
        guild = discord.Object(self.settings.dev_guild_id)
        self.tree.copy_global_to(guild=guild)
        try:
            self._note_ids(await self.tree.sync(guild=guild))
        except discord.Forbidden:
            raise ConfigurationError(
                "DEV_GUILD_ID",
                f"is {guild.id}, but the bot may not give commands there",
                "the id of a server that the bot was invited to, or empty for all servers",
            ) from None

    def mention(self, command: str) -> str:
        """Return a command to be clicked, or as one types it while Discord has not told its id."""
        return self._mentions.get(command, f"`/{command}`")

    def _note_ids(self, synced: Iterable[app_commands.AppCommand]) -> None:
        slash = [each for each in synced if each.type is discord.AppCommandType.chat_input]
        self._mentions = {each.name: each.mention for each in slash}

    async def on_ready(self) -> None:
        """Say who we are."""
        _log.info(
            "connected as %s, in %d servers, shards: %d",
            self.user,
            len(self.guilds),
            len(self.shards),
        )


class FluxTree(app_commands.CommandTree[FluxBot]):
    """The command tree: each command speaks its member's language, and its errors are explained."""

    async def interaction_check(self, interaction: discord.Interaction[FluxBot]) -> bool:
        """Let every command pass, and speak the language of who gives it."""
        speak(await language_of(interaction))
        return True

    async def on_error(
        self, interaction: discord.Interaction[FluxBot], error: app_commands.AppCommandError
    ) -> None:
        """Explain an error of a command to who gave it."""
        await explain(interaction, error)


async def language_of(interaction: discord.Interaction[FluxBot]) -> str:
    """Return the language that a server has fixed, else that of the member's client."""
    try:
        settings = await interaction.client.storage.settings.at(interaction.guild_id)
    except StorageError as error:
        _log.error("the language of server %s is not known: %s", interaction.guild_id, error)
        return best_language(interaction.locale.value)
    return settings.language or best_language(interaction.locale.value)


@asynccontextmanager
async def answering(
    interaction: discord.Interaction[FluxBot], *, typed: str = ""
) -> AsyncIterator[None]:
    """Speak to who presses something in their language, and explain to them what fails.

    What they have `typed` is given back to them then: Discord forgets it.

    discord.py asks and tells nobody about a DynamicItem: it only logs what its callback raises.
    """
    speak(await language_of(interaction))
    try:
        yield
    except Exception as error:
        await explain(interaction, error, typed=typed)


async def explain(
    interaction: discord.Interaction[FluxBot], error: Exception, *, typed: str = ""
) -> None:
    """Answer an interaction that failed with one sentence, seen by its member alone.

    Commands, buttons and modals all end here: a BotError speaks for itself, anything else is logged
    with its traceback under a reference that the answer names.
    """
    if isinstance(error, app_commands.CommandInvokeError):
        error = error.original
    if isinstance(error, BotError):
        text = str(error)
    elif isinstance(error, app_commands.CommandOnCooldown):
        text = _("Too fast: please wait {seconds} s.", seconds=round(error.retry_after))
    elif isinstance(error, app_commands.CheckFailure):
        text = _("You may not use this here. Whoever manages the server can allow it.")
    elif isinstance(error, app_commands.TransformerError):
        text = _("`{value}` is not a value that this option takes.", value=error.value)
    elif _is_discords_fault(error):
        text = _("Discord did not take that just now. Please try again.")
        _log.warning("interaction %d: %r", interaction.id, error)
    else:
        reference = secrets.token_hex(4)
        text = defect_sentence(reference)
        _log.error("interaction %d, reference %s", interaction.id, reference, exc_info=error)
    given = "\n```\n{}\n```".format(typed[:GIVEN_BACK].replace("`", "'")) if typed.strip() else ""
    # it may repeat a value, and Discord would take none of a text that is too long
    text = text[: MESSAGE_LIMIT - len(given)] + given
    try:
        await _answer(interaction, text)
    except (discord.DiscordException, aiohttp.ClientError, OSError) as failure:
        _log.warning("interaction %d could not be answered: %s", interaction.id, failure)


def _is_discords_fault(error: Exception) -> bool:
    """Tell whether a request of ours failed for want of a connection, or of Discord's health."""
    if isinstance(error, discord.HTTPException):
        return error.status >= 500 or error.code in (UNKNOWN_INTERACTION, ALREADY_ACKNOWLEDGED)
    return isinstance(error, aiohttp.ClientError | ConnectionError)


async def _answer(interaction: discord.Interaction[FluxBot], text: str) -> None:
    if not interaction.response.is_done():
        try:
            await interaction.response.send_message(text, ephemeral=True)
        except discord.HTTPException as error:
            if error.code != ALREADY_ACKNOWLEDGED:
                raise
            await interaction.edit_original_response(content=text)
    elif interaction.response.type is discord.InteractionResponseType.deferred_channel_message:
        # the first follow-up of a public "thinking" would be public too: it becomes the answer
        await interaction.edit_original_response(content=text)
    else:
        await interaction.followup.send(text, ephemeral=True)
