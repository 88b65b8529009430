"""What the database holds, as frozen values: jobs, their pictures, drafts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bot.inference.types import Request

# "interrupted" is only in rows of earlier versions: a restart no longer ends a job
JobState = Literal["queued", "running", "made", "delivered", "failed", "cancelled", "interrupted"]

DEFAULT_FILESIZE_LIMIT = 10 * 2**20
"""Bytes. What Discord takes in a file where a server has not been boosted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Who asked, where, and how the answer gets back to them."""

    user_id: int
    guild_id: int | None
    channel_id: int
    message_id: int
    application_id: int
    token: str = field(repr=False)
    private: bool = False
    spoiler: bool = False
    filesize_limit: int = DEFAULT_FILESIZE_LIMIT


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One request of one member, and what has become of it; times are seconds since 1970.

    The request comes without its images, which `Storage.inputs` reads; `inputs` are their names.
    `outcome` is what the result said apart from the pictures, once there is one. `attempts` is how
    often it was begun, `nonce` that of a message which was to be posted for it.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredImage:
    """One picture of a job, as a file."""

    job_id: int
    position: int
    seed: int
    path: Path
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """What the preview of a mask is about: a request, without its images, that is no job yet."""

    id: int
    origin: Origin
    request: Request
    created_at: float


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
    )


def read_draft(row: sqlite3.Row) -> Draft:
    """Return the draft of a row."""
    return Draft(
        id=row["id"],
        origin=Origin(**json.loads(row["origin"])),
        request=Request.from_options(json.loads(row["request"])),
        created_at=row["created_at"],
    )
