"""What `prepare` would do, as a table; nothing is downloaded and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from huggingface_hub.errors import HfHubHTTPError

from bot.errors import ModelUnavailable
from bot.inference.plans import MARGIN, Need, Room, rooms
from bot.inference.prepare import Preparation
from bot.inference.progress import show_progress
from bot.inference.protocol import WorkerOptions
from bot.units import format_bytes

HEAD = ("model", "for", "there", "to download", "in the end", "may be read")
NUMBERS = range(2, 5)
"""The columns that stand at the right."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What the hub says of the repositories that tools use, by their ids."""

    users: dict[str, list[str]] = field(default_factory=dict)
    refusals: dict[str, ModelUnavailable] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)


def rehearse(
    options: WorkerOptions, names: Sequence[str], *, keep_originals: bool, verify: bool = False
) -> bool:
    """Print what is there of each model, what is to come and what stays; tell if that will work.

    With `verify` what is there is compared with its checksums, and what is damaged is missing.
    Raise ModelUnavailable where the hub does not answer.
    """
    work = Preparation(
        options, names, show_progress(), keep_originals=keep_originals, rehearsal=True
    )
    survey = make_survey(work)
    if verify:
        work.verify(leaving_out=survey.unknown)
    needs = work.needs(*work.tools, leaving_out=survey.unknown)
    disks = rooms(needs, work.store_folder, keep_originals=keep_originals)
    for line in table(needs, survey, keep_originals=keep_originals):
        work.progress.say(line)
    for room in disks:
        work.progress.say(_sentence(room))
    for refusal in survey.refusals.values():
        work.progress.say(str(refusal))
    return not survey.refusals and not any(room.missing for room in disks)


def make_survey(work: Preparation) -> Survey:
    """Ask the hub for each repository whether it is there, and whether the token opens it."""
    survey = Survey()
    for tool in work.tools:
        for repo_id in work.repositories(tool):
            survey.users.setdefault(repo_id, []).append(tool.name)
    for repo_id in survey.users:
        try:
            survey.unknown.add(repo_id)
            work.hub.listing(repo_id)
            survey.unknown.remove(repo_id)
            work.hub.ask(repo_id)
        except ModelUnavailable as error:
            if not isinstance(error.__cause__, HfHubHTTPError):
                raise  # that is no answer
            survey.refusals[repo_id] = error
    return survey


def table(needs: Sequence[Need], survey: Survey, *, keep_originals: bool) -> Iterator[str]:
    """Yield the lines of a table of the repositories, with a last one for all together."""
    rows = [HEAD]
    tools = {name for users in survey.users.values() for name in users}
    for repo_id, users in survey.users.items():
        own = [need for need in needs if need.repo_id == repo_id]
        sizes = _sizes(own, keep_originals) if repo_id not in survey.unknown else ["?"] * 3
        used_by = "all" if len(users) == len(tools) > 1 else ", ".join(users)
        rows.append((repo_id, used_by, *sizes, "no" if repo_id in survey.refusals else "yes"))
    rows.append(("together", "", *_sizes(needs, keep_originals), ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(widths[place]) if place in NUMBERS else cell.ljust(widths[place])
            for place, cell in enumerate(row)
        ]
        yield "  ".join(cells).rstrip()


def _sizes(needs: Sequence[Need], keep_originals: bool) -> tuple[str, str, str]:
    return (
        format_bytes(sum(need.there for need in needs)),
        format_bytes(sum(need.to_come for need in needs)),
        format_bytes(sum(need.kept(keep_originals=keep_originals) for need in needs)),
    )


def _sentence(room: Room) -> str:
    """Return whether a disk has room, in words."""
    free = f"The disk of {room.folder} has {format_bytes(room.free)} free"
    if not room.needed:
        return f"{free}; nothing more is needed there."
    needed = f"{free}; this needs {format_bytes(room.needed + MARGIN)} of it"
    if room.missing:
        return f"{needed}: {format_bytes(room.missing)} are missing."
    return f"{needed}: enough."
