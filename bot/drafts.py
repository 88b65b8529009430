"""Requests that are to be looked at first: whose mask a member still makes up their mind about."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace

from bot.database import Database
from bot.errors import JobError
from bot.i18n import N_, _
from bot.inference.types import Adjustment, Request
from bot.inputs import Inputs, record_inputs
from bot.records import Draft, Origin, read_draft

OVER = N_(
    "This preview is over: it was painted or cancelled, or has expired. "
    "Please send the command once more for another."
)


class Drafts:
    """The drafts in a database; they outlive the process, as their previews do."""

    def __init__(self, database: Database, inputs: Inputs) -> None:
        self._database = database
        self._inputs = inputs

    async def add(self, request: Request, origin: Origin) -> Draft:
        """Keep a request with its images."""
        async with (
            self._inputs.written(request.images) as hashes,
            self._database.transaction() as connection,
        ):
            cursor = await connection.execute(
                "INSERT INTO drafts (origin, request, created_at) VALUES (?, ?, ?)",
                (json.dumps(asdict(origin)), json.dumps(request.options()), time.time()),
            )
            await record_inputs(connection, "draft_id", cursor.lastrowid, hashes)
        assert cursor.lastrowid is not None
        return await self.get(cursor.lastrowid)

    async def get(self, draft_id: int) -> Draft:
        """Return a draft; raise JobError if there is none of that id."""
        rows = await self._database.rows("SELECT * FROM drafts WHERE id = ?", draft_id)
        if not rows:
            raise JobError(_(OVER))
        return read_draft(rows[0])

    async def all(self) -> list[Draft]:
        """Return all drafts, also those that an earlier process has left."""
        return [read_draft(row) for row in await self._database.rows("SELECT * FROM drafts")]

    async def images(self, draft_id: int) -> dict[str, bytes]:
        """Return the images of a draft; raise StorageError if one has gone."""
        return await self._inputs.read("draft_id", draft_id)

    async def adjust(self, draft_id: int, adjustments: tuple[Adjustment, ...]) -> Draft:
        """Record what is to be done to the mask of a draft."""
        draft = await self.get(draft_id)
        assert draft.request.region is not None
        region = replace(draft.request.region, adjustments=adjustments)
        request = replace(draft.request, region=region)
        await self._database.change(
            "UPDATE drafts SET request = ? WHERE id = ?", json.dumps(request.options()), draft_id
        )
        return await self.get(draft_id)

    async def remove(self, draft_id: int) -> None:
        """Remove a draft with its images; raise JobError if there is none of that id."""
        async with self._inputs.lock:
            await self.get(draft_id)
            hashes = await self._inputs.hashes("draft_id", draft_id)
            await self._database.change("DELETE FROM drafts WHERE id = ?", draft_id)
            await self._inputs.remove_unused(hashes)
