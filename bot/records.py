"""What the database holds, as frozen values: jobs, their pictures, drafts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bot.i18n import ENGLISH
from bot.inference.tools import TOOLS
from bot.inference.types import Cell, MemoryStats, Request, Result, Weights

# "interrupted" is only in rows of earlier versions: a restart no longer ends a job
JobState = Literal["queued", "running", "made", "delivered", "failed", "cancelled", "interrupted"]

DEFAULT_FILESIZE_LIMIT = 10 * 2**20
"""Bytes. What Discord takes in a file where a server has not been boosted."""


MemoryLine = Literal["full", "short", "off"]
FileFormat = Literal["PNG", "WebP", "JPEG"]
Layout = Literal["files", "grid"]
Verdict = Literal["off", "blur", "withhold"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """How the pictures of a job are shown, as its server had set it when it was asked for.

    `verdict` is what becomes of pictures that the classifier takes for unsafe with a probability
    of `threshold` or more. The archive is a channel that gets a copy of what is public, but of
    what was made where it is `age_restricted` only if it is so itself. `tools` are those that were
    on there: only what they make of a picture is offered, and that quantizations are compared only
    if the choice is `free`. The words are in `language`. Who asked is `named` where Discord does
    not show it, as it does above the answer to a command.
    """

    memory_line: MemoryLine = "full"
    file_format: FileFormat = "PNG"
    quality: int = 90
    layout: Layout = "files"
    verdict: Verdict = "off"
    threshold: float = 0.5
    archive_channel_id: int | None = None
    age_restricted: bool = False
    tools: tuple[str, ...] = tuple(TOOLS)
    free: bool = True
    language: str = ENGLISH
    named: bool = False

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Look:
        """Return the look of plain values, as `asdict` or JSON gives them."""
        return cls(**{**values, "tools": tuple(values.get("tools", TOOLS))})

    def hidden(self, unsafe: Sequence[float], count: int) -> frozenset[int]:
        """Return which of `count` pictures, from 1, are not to be seen plainly.

        `unsafe` has the probability of each; where a picture was not judged, none passes.
        """
        if self.verdict == "off":
            return frozenset()
        if len(unsafe) != count:
            return frozenset(range(1, count + 1))
        return frozenset(n for n, each in enumerate(unsafe, 1) if each >= self.threshold)


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Who asked, where, and how the answer gets back to them, and in what look."""

    user_id: int
    guild_id: int | None
    channel_id: int
    message_id: int
    application_id: int
    token: str = field(repr=False)
    private: bool = False
    spoiler: bool = False
    filesize_limit: int = DEFAULT_FILESIZE_LIMIT
    look: Look = Look()

    @property
    def jump_url(self) -> str:
        """The link to the message that the answer goes to."""
        place = f"{self.guild_id or '@me'}/{self.channel_id}/{self.message_id}"
        return f"https://discord.com/channels/{place}"

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Origin:
        """Return the origin of plain values, as `asdict` gives them."""
        return cls(**{**values, "look": Look.from_values(values.get("look") or {})})


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One request of one member, and what has become of it; times are seconds since 1970.

    The request comes without its images, which `Storage.inputs` reads; `inputs` are their names.
    `outcome` is what the result said apart from the pictures, once there is one. `attempts` is how
    often it was begun, `nonce` that of a message which was to be posted for it. `parents` are the
    jobs whose pictures it was made from; `repeats` is one that it was to make again.
    """

    id: int
    state: JobState
    origin: Origin
    request: Request
    outcome: Mapping[str, Any] | None
    error: str | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    inputs: tuple[str, ...] = ()
    attempts: int = 0
    nonce: str | None = None
    parents: tuple[int, ...] = ()
    repeats: int | None = None

    @property
    def language(self) -> str:
        """The language in which its member is told of it."""
        return self.origin.look.language


def result_of(
    outcome: Mapping[str, Any], images: Sequence[bytes] = (), control_image: bytes | None = None
) -> Result:
    """Return the result that the outcome of a job tells of, with its pictures where they matter."""
    weights = Weights(**outcome["memory"]["weights"])
    return Result(
        images=tuple(images),
        seeds=tuple(outcome["seeds"]),
        size=tuple(outcome["size"]),
        seconds=outcome["seconds"],
        memory=MemoryStats(**outcome["memory"] | {"weights": weights}),
        quantization=outcome["quantization"],
        control_image=control_image,
        fallback_reason=outcome["fallback_reason"],
        reused=tuple(outcome["reused"]),
        notes=tuple(outcome["notes"]),
        # rows of earlier versions know none of these
        made_with=outcome.get("made_with", {}),
        unsafe=tuple(outcome.get("unsafe", ())),
        cells=tuple(Cell(**cell) for cell in outcome.get("cells", ())),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredImage:
    """One picture of a job, as a file; those of early versions have no hash."""

    job_id: int
    position: int
    seed: int
    path: Path
    bytes: int
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """What the preview of a mask is about: a request, without its images, that is no job yet."""

    id: int
    origin: Origin
    request: Request
    created_at: float


RECORD_PARENTS = """INSERT OR IGNORE INTO parents (job_id, parent_id)
    SELECT child.id, min(jobs.id)
    FROM jobs AS child
    JOIN inputs ON inputs.job_id = child.id
    JOIN images ON images.sha256 = inputs.sha256
    JOIN jobs ON jobs.id = images.job_id
    WHERE child.id = ? AND jobs.guild_id IS child.guild_id
    AND (jobs.user_id = child.user_id OR NOT jobs.private AND jobs.guild_id IS NOT NULL)
    GROUP BY inputs.name"""
"""A picture that comes back as an attachment tells where it is from, to those who could see it.

Of jobs that have made the same one, as a comparison does, it is from the first."""

SELECT_JOBS = """SELECT *,
    (SELECT group_concat(name) FROM inputs WHERE job_id = jobs.id) AS inputs,
    (SELECT group_concat(parent_id) FROM parents WHERE job_id = jobs.id) AS parents FROM jobs"""
"""What `read_job` reads."""

ENDED_AT = """max(
    coalesce(finished_at, created_at), (message_id >> 22) / 1000.0 + 1420070400
)"""
"""When a job ended. The clock of this machine may have been wrong then: it was not before its
message, whose time by Discord's clock is in its id."""


def read_job(row: sqlite3.Row) -> Job:
    """Return the job of a row, with the names of its inputs."""
    return Job(
        id=row["id"],
        state=row["state"],
        origin=Origin(
            user_id=row["user_id"],
            guild_id=row["guild_id"],
            channel_id=row["channel_id"],
            message_id=row["message_id"],
            application_id=row["application_id"],
            token=row["token"],
            private=bool(row["private"]),
            spoiler=bool(row["spoiler"]),
            filesize_limit=row["filesize_limit"],
            look=Look.from_values(json.loads(row["look"] or "{}")),
        ),
        request=Request.from_options(json.loads(row["request"])),
        outcome=json.loads(row["outcome"]) if row["outcome"] else None,
        error=row["error"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        inputs=tuple(row["inputs"].split(",")) if row["inputs"] else (),
        attempts=row["attempts"],
        nonce=row["nonce"],
        parents=_numbers(row["parents"]),
        repeats=row["repeats"],
    )


def read_draft(row: sqlite3.Row) -> Draft:
    """Return the draft of a row."""
    return Draft(
        id=row["id"],
        origin=Origin.from_values(json.loads(row["origin"])),
        request=Request.from_options(json.loads(row["request"])),
        created_at=row["created_at"],
    )


def _numbers(text: str | None) -> tuple[int, ...]:
    return tuple(sorted(map(int, text.split(",")))) if text else ()
