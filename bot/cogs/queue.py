"""`/queue` and `/cancel`: what runs, what waits, mine first, and calling it off."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Self

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import FluxBot, answering
from bot.cogs._sight import sees, wide_sight
from bot.cogs._submit import acknowledge
from bot.colours import ACCENT
from bot.errors import JobError
from bot.i18n import N_, _, counted, percent, speaking
from bot.inference.tools import TOOLS
from bot.inference.types import Stage
from bot.jobs import OVER, Jobs
from bot.messages import joined
from bot.records import Job
from bot.turns import Place, Running
from bot.units import format_wait

PAGE = 10
"""Jobs of others on a page."""
CHOICES = 25
"""What Discord shows at once of an option's choices."""
PROMPT_SHOWN = 60
STAGES: Mapping[Stage, str] = {
    "load": N_("loading the model"),
    "annotate": N_("looking at the image"),
    "encode": N_("reading the prompt"),
    "denoise": N_("painting"),
    "decode": N_("developing"),
}
NOT_TO_CANCEL = N_(
    "Only the member who asked for this, or someone who manages messages here, can cancel it."
)
MESSAGE_DELETED = N_("Its message was deleted.")
BOT_REMOVED = N_("The bot was removed from the server.")


class Queue(commands.Cog):
    """The commands `/queue` and `/cancel`, and what calls a job off besides."""

    def __init__(self, bot: FluxBot) -> None:
        self._bot = bot

    @app_commands.command()
    async def queue(self, interaction: discord.Interaction[FluxBot]) -> None:
        """See what is being painted and what waits, yours first."""
        await acknowledge(interaction, private=True)
        embed, view = await overview(interaction.client.jobs, interaction, page=0)
        await interaction.edit_original_response(embed=embed, view=view)

    @app_commands.command()
    @app_commands.describe(job="which one, if you have several", all="all of yours")
    async def cancel(
        self,
        interaction: discord.Interaction[FluxBot],
        job: int | None = None,
        all: bool = False,
    ) -> None:
        """Call off a picture that waits or is being painted."""
        jobs = interaction.client.jobs
        mine = [each for each in jobs.unfinished() if each.origin.user_id == interaction.user.id]
        if job is not None:
            chosen = [_allowed(interaction, jobs, job)]
        elif all or len(mine) == 1:
            chosen = mine
        elif mine:
            raise JobError(
                counted(
                    "You have {n} job: say which one in `job`, or `all:True`.",
                    "You have {n} jobs: say which one in `job`, or `all:True`.",
                    len(mine),
                )
            )
        else:
            chosen = []
        if not chosen:
            raise JobError(
                _("You have no job that waits or runs. `/history` shows those that are done.")
            )
        await acknowledge(interaction, private=True)
        for each in chosen:
            await jobs.cancel(each.id, cancelled_by(interaction, each))
        answer = counted("It is cancelled.", "{n} jobs are cancelled.", len(chosen))
        await interaction.edit_original_response(content=answer)

    @cancel.autocomplete("job")
    async def suggest_jobs(
        self, interaction: discord.Interaction[FluxBot], typed: str
    ) -> list[app_commands.Choice[int]]:
        """Offer the jobs that may be cancelled: one's own first."""
        jobs = [
            each for each in interaction.client.jobs.unfinished() if may_cancel(interaction, each)
        ]
        jobs.sort(key=lambda each: each.origin.user_id != interaction.user.id)
        sight = wide_sight(interaction)
        names = ((_choice(job, with_prompt=sees(sight, job)), job.id) for job in jobs)
        fitting = (each for each in names if typed.lower() in each[0].lower())
        return [
            app_commands.Choice(name=name[:100], value=job_id)
            for name, job_id in islice(fitting, CHOICES)
        ]

    @commands.Cog.listener()
    async def on_raw_message_delete(self, event: discord.RawMessageDeleteEvent) -> None:
        """Call off the job whose message is gone."""
        await self._call_off_with({event.message_id})

    @commands.Cog.listener()
    async def on_raw_bulk_message_delete(self, event: discord.RawBulkMessageDeleteEvent) -> None:
        """Call off the jobs whose messages are gone."""
        await self._call_off_with(event.message_ids)

    async def _call_off_with(self, message_ids: Collection[int]) -> None:
        await self._bot.jobs.cancel_where(
            lambda job: job.origin.message_id in message_ids, MESSAGE_DELETED
        )

    @commands.Cog.listener()
    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Call off the jobs of a server that the bot is in no more: nobody there sees anything."""
        await self._bot.jobs.cancel_where(
            lambda job: job.origin.guild_id == guild.id, BOT_REMOVED, silently=True
        )


class PageButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]], template=r"queue:(?P<page>\d{1,9})"
):
    """Shows another page of the queue, as it is when it is pressed."""

    def __init__(self, page: int, label: str = "Page", *, disabled: bool = False) -> None:
        super().__init__(
            discord.ui.Button(label=label, custom_id=f"queue:{page}", disabled=disabled)
        )
        self._page = page

    @classmethod
    async def from_custom_id(  # type: ignore[override]
        cls,
        interaction: discord.Interaction[FluxBot],
        item: discord.ui.Button[discord.ui.View],
        match: re.Match[str],
    ) -> Self:
        """Rebuild the button from a message, whichever process sent it."""
        return cls(int(match["page"]))

    async def callback(self, interaction: discord.Interaction[FluxBot]) -> None:  # type: ignore[override]
        """Turn the page."""
        async with answering(interaction):
            embed, view = await overview(interaction.client.jobs, interaction, self._page)
            await interaction.response.edit_message(embed=embed, view=view)


async def overview(
    jobs: Jobs, interaction: discord.Interaction[FluxBot], page: int
) -> tuple[discord.Embed, discord.ui.View | None]:
    """Return what runs, what of the member's waits, and a page of what else does."""
    embed = discord.Embed(title=_("Queue"), colour=ACCENT)

    def who(job: Job) -> str:
        return _who(interaction, job)

    running = [_running_line(jobs, run, who(run.job)) for run in jobs.running]
    embed.add_field(name=_("Being painted"), value=joined(running) or _("nothing"), inline=False)
    places = await jobs.places()
    mine = [place for place in places if place.job.origin.user_id == interaction.user.id]
    others = [place for place in places if place.job.origin.user_id != interaction.user.id]
    if mine:
        lines = [_waiting_line(place, _title(place.job, with_prompt=True)) for place in mine]
        embed.add_field(name=_("Yours"), value=joined(lines), inline=False)
    pages = max(1, -(-len(others) // PAGE))
    page = min(page, pages - 1)
    if others:
        shown = others[page * PAGE : (page + 1) * PAGE]
        lines = [_waiting_line(place, f"{_title(place.job)} · {who(place.job)}") for place in shown]
        embed.add_field(name=_("Of others"), value=joined(lines), inline=False)
    if pages == 1:
        embed.set_footer(text=counted("{n} waiting", "{n} waiting", len(places)))
        return embed, None
    footer = counted(
        "{n} waiting, page {page} of {pages}",
        "{n} waiting, page {page} of {pages}",
        len(places),
        page=page + 1,
        pages=pages,
    )
    embed.set_footer(text=footer)
    view = discord.ui.View(timeout=None)
    view.add_item(PageButton(max(0, page - 1), _("Back"), disabled=page == 0))
    view.add_item(PageButton(page + 1, _("More"), disabled=page == pages - 1))
    return embed, view


def cancelled_by(interaction: discord.Interaction[FluxBot], job: Job) -> str:
    """Return what a job's message says when it is called off, in the language of the job."""
    with speaking(job.language):
        if interaction.user.id == job.origin.user_id:
            return _("Cancelled.")
        name = discord.utils.escape_markdown(interaction.user.display_name)
        return _("Cancelled by {name}.", name=name)


def may_cancel(interaction: discord.Interaction[FluxBot], job: Job) -> bool:
    """Tell whether a member may cancel a job: one's own, or a moderator any of the server."""
    if interaction.user.id == job.origin.user_id:
        return True
    here = interaction.guild_id is not None and job.origin.guild_id == interaction.guild_id
    return here and interaction.permissions.manage_messages


def _allowed(interaction: discord.Interaction[FluxBot], jobs: Jobs, job_id: int) -> Job:
    job = next((job for job in jobs.unfinished() if job.id == job_id), None)
    if job is None:
        raise JobError(_(OVER))
    if not may_cancel(interaction, job):
        raise JobError(_(NOT_TO_CANCEL))
    return job


def _running_line(jobs: Jobs, run: Running, who: str) -> str:
    line = f"{_title(run.job)} · {who}"
    progress = run.progress
    if progress is not None:
        line += f" · {_(STAGES[progress.stage])}"
        if progress.total:
            # down to a whole percent: it is not done before it is
            line += f" {percent(100 * progress.step // progress.total / 100)}"
    left = jobs.seconds_left(run)
    return line if left is None else f"{line} · " + _("{time} left", time=format_wait(left))


def _waiting_line(place: Place, text: str) -> str:
    line = f"**{place.position}** {text}"
    if place.seconds is None:
        return line
    return f"{line} · " + _("in about {time}", time=format_wait(place.seconds))


def _choice(job: Job, *, with_prompt: bool) -> str:
    """Return a job among others; who may call it off may not always read what it is of."""
    name = f"{job.id} · {_title(job)}"
    return f"{name} · {job.request.prompt}" if with_prompt else name


def _title(job: Job, *, with_prompt: bool = False) -> str:
    title = TOOLS[job.request.tool].title
    if not with_prompt or not job.request.prompt:
        return title
    prompt = discord.utils.escape_markdown(job.request.prompt.replace("\n", " "))
    shown = prompt if len(prompt) <= PROMPT_SHOWN else f"{prompt[:PROMPT_SHOWN]}…"
    return f"{title} · {shown}"


def _who(interaction: discord.Interaction[FluxBot], job: Job) -> str:
    """Return whose job it is, as far as that is anybody's business here."""
    if job.origin.user_id == interaction.user.id:
        return _("you")
    if job.origin.private:
        return _("somebody, privately")
    if job.origin.guild_id is None or job.origin.guild_id != interaction.guild_id:
        return _("somebody elsewhere")
    return f"<@{job.origin.user_id}>"


async def setup(bot: FluxBot) -> None:
    """Add the cog; called by `load_extension`."""
    await bot.add_cog(Queue(bot))
