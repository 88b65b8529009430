"""What must arrive goes down a ladder: edits of the job's message, a new one, a direct one."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import discord

from bot.errors import StorageError
from bot.events import Ended, JobEvent
from bot.fitting import fitted
from bot.i18n import _
from bot.inference.types import Result
from bot.looks import shown
from bot.messages import compose, named_job
from bot.records import DEFAULT_FILESIZE_LIMIT, Job
from bot.rendering import Message
from bot.storage import Storage

_log = logging.getLogger(__name__)

FAULTS = (discord.DiscordException, aiohttp.ClientError, OSError)
"""What a request to Discord may end in."""

TOKEN_SECONDS = 15 * 60.0
"""How long an interaction's token is good for."""

EXPIRED_TOKEN = {10015, 50027}
"""Discord's codes for an interaction token that is older than its fifteen minutes."""

GONE = {10003, 10008}
"""Discord's codes for a message that is not there any more, or its channel."""

SHUT = {50027, 50083}
"""Codes of a way that is shut, besides all 403 and 404: the token's and the archived thread's."""

TOO_LARGE = 413
"""Discord's status for a file above the limit, which is that of the member as long as the answer
goes through the interaction, and that of the server for a message of the bot's own."""

RETRY_SECONDS = (1.0, 4.0)
"""Pauses before a rung is tried again: discord.py does not retry a connection reset on Linux, nor
a 503 of a channel message. An edit may be repeated without harm, a new message by its nonce."""

RETRY_LIMIT = 20.0
"""Seconds after which each rung is tried but once: discord.py itself has then tried a webhook five
times, for 25 s."""

LOOK_BACK = 50
"""Messages of a channel among which one is looked for that was posted already."""

Controls = Callable[[Job, JobEvent], list[list[discord.ui.Item[Any]]]]
Posted = discord.Message | discord.PartialMessage


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """Where an event is to be seen now, and what is to be seen there."""

    posted: Posted
    message: Message


class _Parcel:
    """An event on its way down, and what the rungs that failed have taught about it."""

    def __init__(self, job: Job, event: JobEvent, message: Message) -> None:
        self.job = job
        self.event = event
        self.message = message
        self.began = time.perf_counter()
        self.gone = False
        # Discord may have carried out what the bot knows no good end of
        self.may_be_there = job.nonce is not None
        self.nonce: str | None = None

    def learn(self, error: Exception) -> None:
        """Note what a fault tells."""
        self.gone |= isinstance(error, discord.HTTPException) and error.code in GONE
        self.may_be_there |= _may_pass(error)

    async def shrink(self) -> bool:
        """Make the files fit everywhere, and tell whether that made any smaller."""
        whole, self.message = self.message, await fitted(self.message, DEFAULT_FILESIZE_LIMIT)
        return self.message is not whole


Rung = Callable[[_Parcel], Awaitable[Posted]]


class Ladder:
    """Brings events to their members; `controls` gives the buttons, `storage` keeps nonces."""

    def __init__(self, client: discord.Client, controls: Controls, storage: Storage) -> None:
        rungs = (
            self._edit_through_interaction,
            self._edit_as_bot,
            self._post_in_channel,
            self._post_to_member,
        )
        self.arrivals = Counter({_name(rung): 0 for rung in rungs} | {"none": 0})
        """How many events each rung has brought, and `none` of them."""
        self._client = client
        self._controls = controls
        self._storage = storage

    async def show(self, job: Job, event: JobEvent) -> bool:
        """Edit in once what may be passed over, and tell whether Discord took it."""
        if self._client.is_closed():
            return False
        try:
            await self._edit(job, event)
        except FAULTS as error:
            _log.warning("job %d: where it is could not be shown: %s", job.id, error)
            return False
        return True

    async def _edit(self, job: Job, event: JobEvent) -> None:
        parcel = _Parcel(job, event, compose(job, event))
        try:
            await self._edit_through_interaction(parcel)
        except discord.HTTPException as error:
            if error.code not in EXPIRED_TOKEN or job.origin.private:
                raise
            await self._edit_as_bot(parcel)

    async def bring(self, job: Job, event: JobEvent) -> Arrival | None:
        """Try one rung after the other, and return where one brought the event, if any did."""
        parcel = _Parcel(job, event, await _message(job, event))
        too_large = 0
        for failure, rung in self._rungs(parcel):
            if self._client.is_closed():
                break  # it has no session any more, as after the gateway refused the token
            try:
                posted = await self._take(parcel, failure, rung)
                self.arrivals[_name(rung)] += 1
                return Arrival(posted=posted, message=parcel.message)
            except FAULTS as error:
                too_large += _is_too_large(error)
                if too_large > 1 or not (_is_too_large(error) or _leads_on(error)):
                    break
        self.arrivals["none"] += 1
        _log.warning("job %d: not delivered: %s", job.id, _kind(event))
        return None

    def _rungs(self, parcel: _Parcel) -> Iterator[tuple[str, Rung]]:
        """Yield the ways that are open when their turn comes, each with what its failure is."""
        origin = parcel.job.origin
        if origin.private or not _has_expired(parcel.job):
            yield "its message could not be edited", self._edit_through_interaction
        if not origin.private:
            yield "its message could not be edited by the bot itself", self._edit_as_bot
        if not _is_worth_a_message(parcel):
            return
        if not origin.private:
            yield "no message could be posted in its channel", self._post_in_channel
        yield "no direct message could be sent", self._post_to_member

    async def _take(self, parcel: _Parcel, failure: str, rung: Rung) -> Posted:
        """Try a rung, several times if that may help; raise its last fault."""
        for pause in (*RETRY_SECONDS, None):
            try:
                return await rung(parcel)
            except FAULTS as error:
                _log.warning("job %d: %s: %s", parcel.job.id, failure, error)
                parcel.learn(error)
                if _is_too_large(error) and await parcel.shrink():
                    break
                late = time.perf_counter() - parcel.began > RETRY_LIMIT
                if pause is None or late or not _may_pass(error):
                    raise
                await asyncio.sleep(pause)
                if self._client.is_closed():
                    raise
        return await self._take(parcel, failure, rung)

    async def _edit_through_interaction(self, parcel: _Parcel) -> Posted:
        origin = parcel.job.origin
        webhook = discord.Webhook.partial(origin.application_id, origin.token, client=self._client)
        rows = self._controls(parcel.job, parcel.event)
        await webhook.edit_message(origin.message_id, **parcel.message.arguments(rows))
        return self._own(parcel.job)

    async def _edit_as_bot(self, parcel: _Parcel) -> Posted:
        own, rows = self._own(parcel.job), self._controls(parcel.job, parcel.event)
        await own.edit(**parcel.message.arguments(rows))
        return own

    async def _post_in_channel(self, parcel: _Parcel) -> Posted:
        """Post a new message that mentions the member, where the command was given."""
        channel, origin = self._channel(parcel.job), parcel.job.origin
        if parcel.may_be_there and (posted := await self._found(channel, parcel.job)):
            return posted
        text = _("{member}, this is for your request.", member=f"<@{origin.user_id}>")
        if not parcel.gone:
            text += f" {origin.jump_url}"
        member = discord.AllowedMentions(
            everyone=False, roles=False, replied_user=False, users=[discord.Object(origin.user_id)]
        )
        return await self._post(parcel, channel, text, allowed_mentions=member)

    async def _post_to_member(self, parcel: _Parcel) -> Posted:
        """Send a direct message."""
        job = parcel.job
        direct = await self._client.create_dm(discord.Object(job.origin.user_id))
        if parcel.may_be_there:
            places: list[discord.abc.Messageable] = [direct]
            if not job.origin.private:
                places.append(self._channel(job))
            for place in places:
                if posted := await self._found(place, job):
                    return posted
        text = _(
            "This is for a request of yours. The message that belongs to it cannot be reached."
        )
        return await self._post(parcel, direct, text)

    async def _post(
        self, parcel: _Parcel, place: discord.abc.Messageable, text: str, **more: Any
    ) -> Posted:
        rows = self._controls(parcel.job, parcel.event)
        arguments = parcel.message.new_arguments(rows, lead=text) | more
        posted = await place.send(nonce=await self._nonce(parcel), **arguments)
        try:
            # so that it goes as well when its member has everything deleted
            await self._storage.history.note_post(parcel.job.id, posted.channel.id, posted.id)
        except StorageError as error:
            _log.warning("job %d: its new message is not noted: %s", parcel.job.id, error)
        return posted

    async def _nonce(self, parcel: _Parcel) -> str:
        """Return what keeps Discord from making two messages of one, recorded before its use."""
        # another event must not be taken for a repetition of this one: each kind has its own
        kind, known = f"{_kind(parcel.event)}-", parcel.nonce or parcel.job.nonce
        if known is None or not known.startswith(kind):
            known = kind + secrets.token_hex(6)  # Discord takes 25 characters
            try:
                await self._storage.note_nonce(parcel.job.id, known)
            except StorageError as error:
                _log.warning("job %d: its nonce is not kept: %s", parcel.job.id, error)
        parcel.nonce = known
        return known

    async def _found(self, place: discord.abc.Messageable, job: Job) -> Posted | None:
        """Return the result of a job if it is among the last messages, as far as can be seen."""
        assert self._client.user is not None
        try:
            async for message in place.history(limit=LOOK_BACK):
                # the jobs of another data folder had the same numbers
                ours = message.author.id == self._client.user.id
                if ours and message.id >= job.origin.message_id and named_job(message) == job.id:
                    return message
        except FAULTS as error:
            _log.warning("job %d: its channel could not be looked through: %s", job.id, error)
        return None

    def _own(self, job: Job) -> discord.PartialMessage:
        return self._channel(job).get_partial_message(job.origin.message_id)

    def _channel(self, job: Job) -> discord.PartialMessageable:
        return self._client.get_partial_messageable(
            job.origin.channel_id, guild_id=job.origin.guild_id
        )


async def _message(job: Job, event: JobEvent) -> Message:
    if isinstance(event, Result):
        return await shown(job, event, job.origin.filesize_limit)
    return compose(job, event)


def _name(rung: Rung) -> str:
    return rung.__name__.removeprefix("_")


def _kind(event: JobEvent) -> str:
    return event.state if isinstance(event, Ended) else type(event).__name__.lower()


def _is_worth_a_message(parcel: _Parcel) -> bool:
    """Tell whether an event is to be told where it cannot be shown."""
    event = parcel.event
    if isinstance(event, Ended) and event.state == "cancelled":
        return not parcel.gone  # nobody misses it
    return isinstance(event, Result | Ended)


def _has_expired(job: Job) -> bool:
    return time.time() - job.created_at > TOKEN_SECONDS


def _is_too_large(error: Exception) -> bool:
    return isinstance(error, discord.HTTPException) and error.status == TOO_LARGE


def _may_pass(error: Exception) -> bool:
    """Tell whether the same request may succeed a little later."""
    return not isinstance(error, discord.HTTPException) or error.status in (429, 500, 502, 503, 504)


def _leads_on(error: Exception) -> bool:
    """Tell whether another way may be open: this one is shut, or Discord is unwell."""
    if not isinstance(error, discord.HTTPException) or _may_pass(error):
        return True
    return error.status in (403, 404) or error.code in SHUT
