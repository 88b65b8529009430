"""Which job runs next: fair between members, sparing switches of models, starving none."""

from __future__ import annotations

import copy
import heapq
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

_Heap = list[tuple[int, int]]
"""GPU time of a member and the id of its first job: the fairest on top."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """A job as the scheduler sees it; `id` is also the order of arrival.

    `model` is what the device must hold for it, `seconds` is what it takes there.
    """

    id: int
    member: int
    model: str
    seconds: float


class _Head(NamedTuple):
    """The first job of a member, since which take it is that, and how far it may be overtaken."""

    id: int
    since: int
    limit: float


class Scheduler:
    """Jobs that wait, and the GPU time that members had of late.

    The member that had the least within `window` seconds goes first. A job whose model is on the
    device may go before that, but such jobs hold up no other by more than `extra_wait` seconds. A
    member's first job that `most_passes` later arrivals have gone before is taken next.
    """

    def __init__(
        self, *, extra_wait: float = 30.0, most_passes: int = 20, window: float = 3600.0
    ) -> None:
        self._extra_wait = extra_wait
        self._window = window
        self._waiting: dict[int, Waiting] = {}
        self._running: dict[int, Waiting] = {}
        self._lines: dict[int, tuple[int, ...]] = {}
        self._heads: dict[int, _Head] = {}
        self._passes = _Passes(most_passes)
        self._spent: dict[int, int] = {}
        self._charges: list[tuple[float, int, int]] = []
        self._fairest: _Heap = []
        self._of_model: defaultdict[str, _Heap] = defaultdict(list)
        self._takes = 0
        self._taken: dict[int, int] = {}
        self._extra = 0.0
        self._clock = 0.0
        self._seen: float | None = None

    def add(self, job: Waiting) -> None:
        """Let a job wait behind those of its member that came before it."""
        if job.id in self._waiting:
            raise ValueError(f"job {job.id} waits already")
        self._waiting[job.id] = job
        line = self._lines.get(job.member, ())
        place = bisect_left(line, job.id)
        self._lines[job.member] = (*line[:place], job.id, *line[place:])
        self._look_at(job.member)

    def remove(self, job_id: int) -> None:
        """Let a job wait no more; raise KeyError if it does not wait."""
        job = self._waiting.pop(job_id)
        line = self._lines[job.member]
        place = bisect_left(line, job_id)
        self._lines[job.member] = line[:place] + line[place + 1 :]
        if not self._lines[job.member]:
            del self._lines[job.member]
        self._look_at(job.member)

    def take(self, resident: Collection[str], now: float) -> int | None:
        """Return the job to run next, which waits no more; None if none waits.

        Its forecast counts as its member's GPU time until `charge` says what it really took.
        """
        job = self._take(resident, now)
        return None if job is None else job.id

    def charge(self, job_id: int, seconds: float, now: float) -> None:
        """Count what a job really took, in place of its forecast, now that it runs no more.

        Raise KeyError if it was not taken, or charged already.
        """
        job = self._running.pop(job_id)
        self._spend(job.member, -_milliseconds(job.seconds))
        self._rank(job.member)
        self._advance(now)
        self._remember(job.member, seconds, self._clock)

    def charge_member(self, member: int, seconds: float, ended: float) -> None:
        """Count what a job took that ended at a time gone by, be it in an earlier process."""
        if self._seen is None or ended > self._seen:
            self._advance(ended)
        assert self._seen is not None
        self._remember(member, seconds, self._clock - (self._seen - ended))

    def order(self, resident: Collection[str], now: float) -> Iterator[int]:
        """Yield the jobs in the order in which one worker would take them as things stand.

        Each is thought to take as long as forecast, and to leave its model alone on the device.
        They are as they were at the first, whatever is done to the queue until the last.
        """
        ahead = self._copy()
        while (job := ahead._take(resident, now)) is not None:
            yield job.id
            resident = (job.model,)

    def _take(self, resident: Collection[str], now: float) -> Waiting | None:
        self._advance(now)
        if not self._waiting:
            return None
        job = self._next(resident)
        self._passes.count(job.id)
        self._takes += 1
        self._taken[job.member] = self._takes
        self._running[job.id] = job
        self._spend(job.member, _milliseconds(job.seconds))
        self.remove(job.id)
        return job

    def _next(self, resident: Collection[str]) -> Waiting:
        starved = self._passes.oldest_at_limit()
        if starved is not None:
            return self._waiting[starved]
        fair = self._top(self._fairest)
        assert fair is not None
        if fair.model in resident:
            return fair
        tops = (self._top(self._of_model[model]) for model in resident if model in self._of_model)
        ready = [job for job in tops if job is not None]
        if not ready:
            return fair
        best = min(ready, key=lambda job: (self._spent.get(job.member, 0), job.id))
        return best if self._may_overtake(best, fair) else fair

    def _may_overtake(self, job: Waiting, fair: Waiting) -> bool:
        """Tell whether a job may go before the fair choice, and if so, note that it does."""
        head = self._heads[fair.member]
        if self._extra + job.seconds > head.limit:
            return False
        if self._taken.get(job.member, 0) > head.since:
            # more than one turn of this member: all others that wait pay for that as well, or
            # each in turn would be held up by `extra_wait`, and the last of them by the sum
            self._extra += job.seconds
        else:
            self._heads[fair.member] = head._replace(limit=head.limit - job.seconds)
        return True

    def _look_at(self, member: int) -> None:
        """Note which job of a member is its first now."""
        line, head = self._lines.get(member), self._heads.get(member)
        first = line[0] if line else None
        if head is not None:
            if head.id == first:
                return
            self._passes.drop(head.id)
            del self._heads[member]
        if first is not None:
            limit = self._extra + self._extra_wait
            self._heads[member] = _Head(first, self._takes, limit)
            self._passes.put(first)
            self._rank(member)

    def _rank(self, member: int) -> None:
        """Enter the first job of a member into the heaps; what it was entered with is stale."""
        if member not in self._heads:
            return
        members: Collection[int] = (member,)
        if len(self._fairest) > 4 * len(self._heads) + 64:  # most of it is stale: begin anew
            self._fairest.clear()
            self._of_model.clear()
            members = self._heads
        for each in members:
            job_id = self._heads[each].id
            entry = self._spent.get(each, 0), job_id
            heapq.heappush(self._fairest, entry)
            heapq.heappush(self._of_model[self._waiting[job_id].model], entry)

    def _top(self, heap: _Heap) -> Waiting | None:
        while heap and not self._is_current(heap[0]):
            heapq.heappop(heap)
        return self._waiting[heap[0][1]] if heap else None

    def _is_current(self, entry: tuple[int, int]) -> bool:
        spent, job_id = entry
        job = self._waiting.get(job_id)
        return (
            job is not None
            and self._heads[job.member].id == job_id
            and self._spent.get(job.member, 0) == spent
        )

    def _spend(self, member: int, milliseconds: int) -> None:
        self._spent[member] = self._spent.get(member, 0) + milliseconds
        if not self._spent[member]:
            del self._spent[member]

    def _remember(self, member: int, seconds: float, at: float) -> None:
        if at > self._clock - self._window:
            milliseconds = _milliseconds(seconds)
            heapq.heappush(self._charges, (at, member, milliseconds))
            self._spend(member, milliseconds)
            self._rank(member)

    def _advance(self, now: float) -> None:
        """Let time pass, and forget what lies further back than the window.

        Time is what passes between calls: a clock that is set back stands still once, and no
        charge lies in the future.
        """
        if self._seen is not None:
            self._clock += max(0.0, now - self._seen)
        self._seen = now
        while self._charges and self._charges[0][0] <= self._clock - self._window:
            _, member, milliseconds = heapq.heappop(self._charges)
            self._spend(member, -milliseconds)
            self._rank(member)

    def _copy(self) -> Scheduler:
        # what is in these dictionaries is never changed, only replaced
        other = copy.copy(self)
        other._waiting, other._running = self._waiting.copy(), self._running.copy()
        other._lines, other._heads = self._lines.copy(), self._heads.copy()
        other._passes = self._passes.copy()
        other._spent, other._charges = self._spent.copy(), self._charges.copy()
        other._taken, other._fairest = self._taken.copy(), self._fairest.copy()
        other._of_model = defaultdict(list)
        for model, heap in self._of_model.items():
            other._of_model[model] = heap.copy()
        return other


class _Passes:
    """How many later arrivals were taken before each head, counted up to a limit.

    Bytes, for `translate` counts up a thousand of them in a microsecond.
    """

    def __init__(self, limit: int) -> None:
        if not 1 <= limit <= 255:
            raise ValueError(f"most_passes must be 1 to 255, not {limit}")
        self._limit = limit
        self._one_more = bytes(min(n + 1, limit) for n in range(256))
        self._ids: list[int] = []
        self._counts = bytearray()

    def put(self, job_id: int) -> None:
        place = bisect_left(self._ids, job_id)
        self._ids.insert(place, job_id)
        self._counts.insert(place, 0)

    def drop(self, job_id: int) -> None:
        place = bisect_left(self._ids, job_id)
        del self._ids[place], self._counts[place]

    def count(self, taken: int) -> None:
        older = bisect_left(self._ids, taken)
        self._counts[:older] = self._counts[:older].translate(self._one_more)

    def oldest_at_limit(self) -> int | None:
        place = self._counts.find(self._limit)
        return self._ids[place] if place >= 0 else None

    def copy(self) -> _Passes:
        other = copy.copy(self)
        other._ids, other._counts = self._ids.copy(), self._counts.copy()
        return other


def _milliseconds(seconds: float) -> int:
    """Return whole milliseconds: unlike floats they add up to nothing when taken back."""
    return round(1000 * max(0.0, seconds))
