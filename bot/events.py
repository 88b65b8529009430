"""What happens to a job, and how its member is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from bot.i18n import speaking
from bot.inference.types import Progress, Queued, Result
from bot.logs import about_job
from bot.records import Job


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """The job ended without pictures; `text` tells the member why, unless it is `silent`."""

    state: Literal["failed", "cancelled"]
    text: str
    silent: bool = False


JobEvent = Queued | Progress | Result | Ended


@contextmanager
def on_behalf_of(job: Job) -> Iterator[None]:
    """Speak the language of a job in a block, and let all that is logged there bear its id."""
    with speaking(job.language), about_job(job.id):
        yield


class Deliver(Protocol):
    """Tells the member of a job what has happened; never raises for Discord's faults.

    What happens to one job is told in the order of the calls, though one may be slow. Returns
    whether it was told, as far as Discord says.
    """

    async def __call__(self, job: Job, event: JobEvent) -> bool: ...
