"""One slash command without a browser: its messages as text, its pictures as files."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import discord

from bot.cogs._mask_preview import LABELS
from bot.config import Settings
from bot.errors import BotError, JobError
from bot.playground.command_line import BadCommand, Value, read
from bot.playground.simulation import SETTLE_TIMEOUT_SECONDS, Simulation, simulation
from bot.playground.transcript import describe
from bot.signals import stop_signals

# The bot edits a message every second or two, so no state is missed between two looks.
LOOK_SECONDS = 0.05
STOPPED = 130  # what shells report after Ctrl-C
ONLY_JOB = 1  # the data folder is a new one, so the job of this command is its first
PAINT = LABELS["paint"]


class Unanswered(BotError):
    """The command was refused, failed, or cannot be answered in a terminal."""


class NotSaved(BotError):
    """A picture cannot be written to the folder that was asked for."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)

    def __str__(self) -> str:
        (error,) = self.args
        return f"The pictures cannot be saved: {error.filename}: {error.strerror}."


async def run_once(settings: Settings, command: str, save: Path | None) -> int:
    """Run one slash command to the end of its job, and return the exit code."""
    try:
        if save is not None:
            _make_folder(save)
        with stop_signals() as stop:
            async with simulation(settings) as room:
                await room.until(stop, converse(room, command, save))
            return STOPPED if stop.is_set() else 0
    except BotError as error:
        print(error, file=sys.stderr)
        return 1


async def converse(room: Simulation, command: str, save: Path | None) -> None:
    """Give a command, print its messages as they come, and save their pictures.

    The preview of a mask is agreed to. Raise BotError with the bot's own sentence if it refuses the
    command or the job fails.
    """
    conversation = _Conversation(room, save)
    await conversation.give(command)
    await conversation.follow()
    await conversation.raise_refusal()
    if await conversation.agree_to_preview():
        await conversation.follow()
        await conversation.raise_refusal()
    await conversation.save_pictures()


class _Conversation:
    """What has been shown of the messages in the room, and saved of their pictures."""

    def __init__(self, room: Simulation, save: Path | None) -> None:
        self._room = room
        self._save = save
        self._shown: dict[int, str] = {}
        self._saved: set[int] = set()

    async def follow(self) -> None:
        """Print each message when it appears and when it changes, until no job is left."""
        job = asyncio.create_task(self._room.application.jobs.idle())
        try:
            while not job.done():
                self._show_news()
                await asyncio.wait({job}, timeout=LOOK_SECONDS)
        finally:
            job.cancel()
        self._show_news()

    async def give(self, command: str) -> None:
        """Send the command as the owner of the server."""
        from simcord import SetupError

        tree = self._room.application.client.tree
        invocation = read(command, tree.get_commands(type=discord.AppCommandType.chat_input))
        options = {name: await _sent(name, value) for name, value in invocation.options.items()}
        try:
            result = await self._room.owner.slash(self._room.channel, invocation.command, **options)
        except SetupError as error:
            raise Unanswered(f"`/{invocation.command}` could not be run: {error}") from error
        except TimeoutError as error:
            raise Unanswered(
                f"The bot was not done with `/{invocation.command}` "
                f"after {SETTLE_TIMEOUT_SECONDS:.0f} seconds."
            ) from error
        if result.modal is not None:
            raise Unanswered(
                f"`/{invocation.command}` opens a form, which only the page can fill in: "
                "python -m bot playground"
            )
        if not result.acknowledged:
            raise Unanswered(f"The bot did not answer `/{invocation.command}`.")

    def _messages(self) -> list[discord.Message]:
        return self._room.channel.history(viewer=self._room.owner)

    def _show_news(self) -> None:
        for message in self._messages():
            text = describe(message)
            if self._shown.get(message.id) != text:
                self._shown[message.id] = text
                print(text, flush=True)

    async def raise_refusal(self) -> None:
        """Raise what the bot said if it ran into an error, in the command or in its job."""
        if errors := self._room.env.errors:
            said = [message.content for message in self._messages() if message.content]
            raise Unanswered(said[-1] if said else f"The bot gave no answer: {errors[-1]}")
        try:
            job = await self._room.application.storage.job(ONLY_JOB)
        except JobError:
            return  # this command asks for no picture
        if job.error is not None:
            raise Unanswered(job.error)

    async def agree_to_preview(self) -> bool:
        """Press *Paint it* where there is one, and tell whether that was so."""
        for message in self._messages():
            if PAINT in _labels(message):
                await self.save_pictures()  # a private answer takes the preview's place
                print(f"[{PAINT}] is pressed for you: --once does not wait for a click.")
                await self._room.owner.click(message, label=PAINT)
                return True
        return False

    async def save_pictures(self) -> None:
        """Write the attachments of all messages under their own names, each once."""
        if self._save is None:
            return
        for attachment in (each for message in self._messages() for each in message.attachments):
            if attachment.id in self._saved:
                continue
            path = self._save / Path(attachment.filename).name
            try:
                await attachment.save(path)
            except OSError as error:
                raise NotSaved(error) from error
            self._saved.add(attachment.id)
            print(f"saved {path}", flush=True)


def _labels(message: discord.Message) -> list[str | None]:
    rows = (row for row in message.components if isinstance(row, discord.ActionRow))
    return [each.label for row in rows for each in row.children if isinstance(each, discord.Button)]


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotSaved(error) from error


async def _sent(name: str, value: Value) -> object:
    """A value as simcord takes it: an attachment as its file name and bytes."""
    if not isinstance(value, Path):
        return value
    try:
        return value.name, await asyncio.to_thread(value.read_bytes)
    except OSError as error:
        raise BadCommand(
            f"`{name}`: the file {value} cannot be read ({error.strerror})."
        ) from error
