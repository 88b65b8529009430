"""The history: which jobs there are, as far as somebody may see them, and what they came from."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bot.database import Database
from bot.errors import JobError
from bot.i18n import N_, _
from bot.records import ENDED_AT, SELECT_JOBS, Job, read_job

LAST = 2**63 - 1
"""The highest number that a row can have."""

OUT_OF_SIGHT = N_(
    "This job is not in your history here, or not any more. `/history` shows what is."
)

MOST_ANCESTORS = 50
"""Jobs that are named as those from whose pictures one was made."""

MOST_GENERATIONS = 20
"""Steps back that they are looked for."""

ANCESTORS = f"""WITH RECURSIVE chain (id, generation) AS (
        SELECT parent_id, 1 FROM parents WHERE job_id = ?1
        UNION
        SELECT parents.parent_id, generation + 1
        FROM parents JOIN chain ON parents.job_id = chain.id WHERE generation < {MOST_GENERATIONS}
    )
    {SELECT_JOBS} WHERE id IN (SELECT id FROM chain) ORDER BY id DESC LIMIT {MOST_ANCESTORS}"""

NOTE_POST = """INSERT OR IGNORE INTO posts (job_id, channel_id, message_id)
    SELECT id, :channel_id, :message_id FROM jobs WHERE id = :job_id"""

PUBLIC_SOURCES = """SELECT inputs.name, jobs.id, images.position
    FROM jobs AS child
    JOIN inputs ON inputs.job_id = child.id
    JOIN images ON images.sha256 = inputs.sha256
    JOIN jobs ON jobs.id = images.job_id
    WHERE child.id = ? AND NOT jobs.private AND jobs.guild_id = child.guild_id
    AND jobs.channel_id = child.channel_id"""

REMOVE_POST = """INSERT OR IGNORE INTO removals (message_id, channel_id)
    SELECT :message_id, :channel_id
    WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE id = :job_id)"""
"""For a job that was deleted while its message was on its way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """Which jobs somebody may see: their own, in a server only those of that server.

    Of others they see what was public in the channels of the server that are named.
    """

    user_id: int
    guild_id: int | None
    channel_ids: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What is looked for: jobs of a tool, with a text in the prompt, of a channel."""

    tool: str | None = None
    text: str = ""
    channel_id: int | None = None


EVERYTHING = Search()


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Some of the jobs that were found, the newest first, and whether there are others."""

    jobs: tuple[Job, ...]
    has_newer: bool
    has_older: bool


class History:
    """Finds jobs in a database; what is not in somebody's sight is not there for them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, sight: Sight, search: Search = EVERYTHING, *, start: int | None = None, count: int
    ) -> Page:
        """Return `count` jobs from one on, which need not be there, and older ones."""
        where, values = _conditions(sight, search)
        rows = await self._database.rows(
            f"{SELECT_JOBS} WHERE {where} AND id <= ? ORDER BY id DESC LIMIT ?",
            *values,
            LAST if start is None else start,
            count + 1,
        )
        has_newer = start is not None and bool(await self._after(start, sight, search, count=1))
        return Page(
            jobs=tuple(read_job(row) for row in rows[:count]),
            has_newer=has_newer,
            has_older=len(rows) > count,
        )

    async def page_before(self, sight: Sight, search: Search, *, start: int, count: int) -> Page:
        """Return the page that ends before the job with which another one starts."""
        before = await self._after(start, sight, search, count=count)
        # where fewer are left than fill a page, it is the first one
        first = before[-1] if len(before) == count else None
        return await self.page(sight, search, start=first, count=count)

    async def find(self, sight: Sight, job_id: int) -> Job:
        """Return a job; raise JobError where there is none of that id in sight."""
        where, values = _conditions(sight, EVERYTHING)
        rows = await self._database.rows(f"{SELECT_JOBS} WHERE {where} AND id = ?", *values, job_id)
        if not rows:
            raise JobError(_(OUT_OF_SIGHT))
        return read_job(rows[0])

    async def of_message(self, message_id: int) -> Job | None:
        """Return the job whose message that is, whoever may see it."""
        rows = await self._database.rows(f"{SELECT_JOBS} WHERE message_id = ?", message_id)
        return read_job(rows[0]) if rows else None

    async def note_post(self, job_id: int, channel_id: int, message_id: int) -> None:
        """Note a message that has a job's pictures too, to be deleted with it, or at once."""
        post = {"job_id": job_id, "channel_id": channel_id, "message_id": message_id}
        async with self._database.transaction() as connection:
            await connection.execute(NOTE_POST, post)
            await connection.execute(REMOVE_POST, post)

    async def ancestors(self, job_id: int) -> list[Job]:
        """Return the jobs from whose pictures a job was made, and so on, the latest first."""
        return [read_job(row) for row in await self._database.rows(ANCESTORS, job_id)]

    async def children(self, job_id: int) -> int:
        """Return how many jobs were made from the pictures of one."""
        (row,) = await self._database.rows(
            "SELECT count(*) AS children FROM parents WHERE parent_id = ?", job_id
        )
        return int(row["children"])

    async def has_pictures(self, job_id: int) -> bool:
        """Tell whether the pictures of a job are still kept."""
        rows = await self._database.rows("SELECT bytes FROM images WHERE job_id = ?", job_id)
        return bool(rows) and all(row["bytes"] for row in rows)

    async def public_sources(self, job_id: int) -> list[tuple[str, int, int]]:
        """Return the images of a job that were public results in its channel before.

        Each is the name of the image, the job that made it, and its position there.
        """
        rows = await self._database.rows(PUBLIC_SOURCES, job_id)
        return [(row["name"], row["id"], row["position"]) for row in rows]

    async def last_end(self, guild_id: int, user_id: int | None) -> float:
        """Return when the last job of a server, or of a member there, ended; 0 where none is."""
        (row,) = await self._database.rows(
            f"SELECT max({ENDED_AT}) AS last FROM jobs"
            " WHERE guild_id = ?1 AND (?2 IS NULL OR user_id = ?2)",
            guild_id,
            user_id,
        )
        return float(row["last"] or 0)

    async def guild_ids(self) -> list[int]:
        """Return the servers that there is data of."""
        rows = await self._database.rows(
            "SELECT guild_id FROM jobs WHERE guild_id IS NOT NULL"
            " UNION SELECT guild_id FROM settings UNION SELECT guild_id FROM settings_log"
        )
        return [row["guild_id"] for row in rows]

    async def members(self, *, start: int, count: int) -> list[tuple[int, int]]:
        """Return members that there are jobs of, each as server and member, from a number on."""
        rows = await self._database.rows(
            "SELECT DISTINCT guild_id, user_id FROM jobs WHERE guild_id IS NOT NULL"
            " ORDER BY guild_id, user_id LIMIT ? OFFSET ?",
            count,
            start,
        )
        return [(row["guild_id"], row["user_id"]) for row in rows]

    async def member_count(self) -> int:
        """Return how many members there are jobs of, each counted once in each server."""
        (row,) = await self._database.rows(
            "SELECT count(*) AS members FROM"
            " (SELECT DISTINCT guild_id, user_id FROM jobs WHERE guild_id IS NOT NULL)"
        )
        return int(row["members"])

    async def _after(self, start: int, sight: Sight, search: Search, *, count: int) -> list[int]:
        """Return the jobs that come next after one, the oldest of them first."""
        where, values = _conditions(sight, search)
        rows = await self._database.rows(
            f"SELECT id FROM jobs WHERE {where} AND id > ? ORDER BY id LIMIT ?",
            *values,
            start,
            count,
        )
        return [row["id"] for row in rows]


def _conditions(sight: Sight, search: Search) -> tuple[str, list[object]]:
    """Return what a job must meet, and the values that this names in their order."""
    seen, values = _in_sight(sight)
    conditions = [seen]
    if search.tool is not None:
        conditions.append("json_extract(request, '$.tool') = ?")
        values.append(search.tool)
    if search.channel_id is not None:
        conditions.append("channel_id = ?")
        values.append(search.channel_id)
    if search.text:
        conditions.append("instr(casefold(json_extract(request, '$.prompt')), ?)")
        values.append(search.text.casefold())
    return " AND ".join(conditions), values


def _in_sight(sight: Sight) -> tuple[str, list[object]]:
    if sight.guild_id is None:
        return "user_id = ?", [sight.user_id]
    if not sight.channel_ids:
        return "guild_id = ? AND user_id = ?", [sight.guild_id, sight.user_id]
    public = "NOT private AND channel_id IN (SELECT value FROM json_each(?))"
    channels = json.dumps(sorted(sight.channel_ids))
    return f"guild_id = ? AND (user_id = ? OR {public})", [sight.guild_id, sight.user_id, channels]
