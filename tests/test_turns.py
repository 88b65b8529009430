"""Whose turn it is: how many may wait, who comes when, and what earlier processes have to say."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import JobError
from bot.inference.sweep_results import merged
from bot.inference.sweeps import parse, swept, variations
from bot.inference.tools import FAMILIES
from bot.inference.types import Progress, Sweep
from bot.records import Job
from bot.turns import NEAR, UNKNOWN, WINDOW, Limits, Turns

from .doubles import result_for
from .test_storage import ORIGIN, REQUEST

LIMITS = Limits(member=2, server=3)


def job(number: int, member: int = 1, server: int | None = None, prompt: str = "x") -> Job:
    return Job(
        id=number,
        state="queued",
        origin=replace(ORIGIN, user_id=member, guild_id=server),
        request=replace(REQUEST, prompt=prompt),
        outcome=None,
        error=None,
        created_at=0.0,
        started_at=None,
        finished_at=None,
    )


def ended(number: int, member: int, *, after: float, at: float) -> Job:
    return replace(job(number, member), started_at=at - after, finished_at=at)


def turns(*jobs: Job, limits: Limits | None = None) -> Turns:
    made = Turns(limits or Limits(), lanes=lambda: 1)
    for each in jobs:
        made.enter(each)
    return made


def sweep(number: int, cells: int, member: int = 1, server: int | None = None) -> Job:
    values = tuple(range(1, cells + 1))
    plain = job(number, member, server)
    swept_request = swept(plain.request, Sweep(option="steps", values=values))
    return replace(plain, request=swept_request)


def order(queue: Turns) -> list[int]:
    return [place.job.id for place in queue.places()]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ask", "give up", "withdraw", "begin", "end"]),
            st.integers(1, 3),
            st.sampled_from([None, 1, 2]),
        ),
        max_size=80,
    )
)
def test_no_more_wait_than_may_and_none_is_refused_before(
    acts: list[tuple[str, int, int | None]],
) -> None:
    queue = turns(limits=LIMITS)
    for number, (act, member, server) in enumerate(acts):
        there = [each for each in queue.waiting.values() if each.origin.guild_id == server]
        mine, ours = sum(each.origin.user_id == member for each in there), len(there)
        if act in ("ask", "give up"):
            new = job(number, member, server)
            if mine >= LIMITS.member or (server is not None and ours >= LIMITS.server):
                with pytest.raises(JobError, match=r"waiting already|wait in this server"):
                    queue.claim(new.origin)
                continue
            queue.claim(new.origin)
            if act == "ask":
                queue.enter(new, claimed=True)
            else:
                queue.give_up(new.origin)
        elif act == "withdraw" and queue.waiting:
            queue.withdraw(min(queue.waiting))
        elif act == "begin" and queue.waiting:
            queue.begin()
        elif act == "end" and queue.running:
            queue.end(next(iter(queue.running.values())))
    origins = [each.origin for each in queue.waiting.values()]
    assert all(n <= 2 for n in Counter((each.guild_id, each.user_id) for each in origins).values())
    assert all(n <= 3 for n in Counter(each.guild_id for each in origins if each.guild_id).values())


def test_who_has_other_limits_is_held_to_those() -> None:
    queue = turns(*(job(number, server=1) for number in range(3)), limits=LIMITS)
    with pytest.raises(JobError, match="You have 3 jobs waiting already"):
        queue.claim(job(9, server=1).origin)
    with pytest.raises(JobError, match="This server has 3 jobs waiting"):
        queue.claim(job(9, server=1).origin, Limits(member=math.inf, server=3))
    queue.claim(job(9, server=1).origin, Limits(member=4, server=math.inf))


def test_a_sweep_counts_as_many_times_as_it_has_pictures_until_it_begins() -> None:
    queue = turns()
    queue.claim(ORIGIN, cells=16)
    queue.enter(replace(sweep(1, 16), origin=ORIGIN), claimed=True)
    queue.claim(ORIGIN, cells=4)
    with pytest.raises(JobError, match="You have 20 jobs waiting already"):
        queue.claim(ORIGIN)
    queue.give_up(ORIGIN, cells=4)
    with pytest.raises(
        JobError, match="You have 16 jobs waiting already, and this sweep counts as 5"
    ):
        queue.claim(ORIGIN, cells=5)
    queue.claim(ORIGIN, cells=4)
    queue.begin()
    queue.claim(ORIGIN, cells=16)


def test_a_sweep_that_is_withdrawn_leaves_room_for_as_many() -> None:
    queue = turns(sweep(1, 16))
    queue.withdraw(1)
    queue.claim(job(2).origin, cells=16)
    queue.claim(job(2).origin, cells=4)


@pytest.mark.parametrize(
    "limits", [Limits(member=10, server=200), Limits(member=math.inf, server=10)]
)
def test_a_sweep_that_alone_is_too_much_is_told_so_though_nothing_waits(limits: Limits) -> None:
    queue = turns(limits=limits)
    where = job(1, server=5).origin
    sentence = "This sweep counts as 16 jobs, and 10 of yours at most may wait here."
    with pytest.raises(JobError) as refused:
        queue.check_room(where.guild_id, where.user_id, cells=16)
    assert str(refused.value) == sentence
    queue.check_room(where.guild_id, where.user_id, cells=10)


def test_a_server_is_full_when_a_sweep_has_no_room_there() -> None:
    queue = turns(sweep(1, 16, server=5), limits=Limits(member=20, server=20))
    bob = job(2, member=2, server=5).origin
    with pytest.raises(JobError, match="This server has 16 jobs waiting already, and this sweep"):
        queue.claim(bob, cells=5)
    queue.claim(bob, cells=4)


def test_the_seconds_of_a_sweep_are_those_of_all_its_pictures() -> None:
    queue = turns(sweep(1, 4, server=1))
    assert queue.pending(1) == 4 * UNKNOWN
    queue.learn(job(0), replace(result_for(REQUEST), seconds={"denoise": 2.0}))
    step = 2.0 / REQUEST.num_inference_steps / REQUEST.count
    assert queue.pending(1) == pytest.approx((1 + 2 + 3 + 4) * step)


def test_who_waits_behind_a_sweep_waits_for_all_of_it_and_for_its_switches() -> None:
    models = parse("model schnell dev", FAMILIES["flux"], model="dev")
    queue = turns(replace(job(1), request=swept(REQUEST, models)), job(2, member=2))
    loaded = {"load": 30.0, "denoise": 2.0}
    for each in variations(queue.waiting[1].request):
        queue.learn(replace(job(0), request=each), replace(result_for(each), seconds=loaded))
    queue.resident = frozenset()
    behind = next(place for place in queue.places() if place.job.id == 2)
    assert behind.seconds == pytest.approx(2 * 2.0 + 2 * 30.0)


def test_a_sweep_teaches_what_a_picture_by_itself_takes() -> None:
    request = sweep(0, 4).request
    whole = {"load": 9.0, "encode": 1.0, "denoise": 2.0, "decode": 0.5}
    spared = {"denoise": 100.0}
    results = [replace(result_for(each), seconds=spared) for each in variations(request)]
    results[0] = replace(results[0], seconds=whole)
    single = variations(request)[0]
    plain, taught = turns(job(1)), turns(job(1))
    plain.learn(replace(job(0), request=single), replace(results[0], cells=()))
    taught.learn(replace(job(0), request=request), merged(request, results))
    assert taught.pending(None) == plain.pending(None) > 0


def test_what_waits_and_runs_is_counted_in_seconds_for_a_server_and_a_member() -> None:
    queue = turns(job(1, 1, 1), job(2, 1, 1), job(3, 2, 1), job(4, 1, 2))
    queue.begin()
    assert queue.pending(1) == 3 * UNKNOWN
    queue.learn(job(0), replace(result_for(REQUEST), seconds={"denoise": 2.0}))
    assert queue.pending(1) == 6
    assert queue.pending(1, 1) == 4
    assert queue.pending(3) == 0


def test_a_job_knows_its_place_where_it_is_near_and_else_that_it_is_last() -> None:
    many = [job(number) for number in range(NEAR + 50)]
    queue = turns(*many)
    assert queue.place(many[0]).position == 1
    assert queue.place(many[NEAR - 1]).position == NEAR
    assert queue.place(many[NEAR]).position == len(many)
    newcomer = job(1000, member=2)
    queue.enter(newcomer)
    queue.begin()
    assert queue.place(newcomer).position == 2  # one runs, then it is the turn of who had nothing


def test_places_are_those_of_one_moment_whatever_happens_meanwhile() -> None:
    queue = turns(*(job(number) for number in range(1, 5)))
    places = queue.places()
    first = next(places)
    queue.begin()
    queue.withdraw(3)
    queue.enter(job(9))
    assert [first.job.id, *(place.job.id for place in places)] == [1, 2, 3, 4]


def test_what_earlier_processes_did_counts_for_fairness() -> None:
    now = time.time()
    queue = turns(job(1, member=1), job(2, member=2))
    queue.remember([], [ended(0, 1, after=60, at=now - 10)])
    assert order(queue) == [2, 1]


@pytest.mark.parametrize(
    ("back", "expected"),
    [(10.0, [3, 1, 2]), (WINDOW - 10, [3, 1, 2]), (10 * WINDOW, [1, 3, 2]), (1e9, [1, 3, 2])],
)
def test_a_clock_that_was_set_back_spoils_nothing_that_was_recorded_since(
    back: float, expected: list[int]
) -> None:
    now = time.time()
    queue = turns(job(1, member=1), job(2, member=2), job(3, member=3))
    before = ended(0, 1, after=45, at=now + back)
    since = [ended(0, 2, after=60, at=now - 10), ended(0, 3, after=30, at=now - 20)]
    queue.remember([], [before, *since])
    assert order(queue) == expected


def test_a_job_that_ended_before_it_began_by_the_clock_counts_as_nothing() -> None:
    queue = turns(job(1, member=1), job(2, member=2))
    queue.remember([], [ended(0, 1, after=-3600, at=time.time())])
    assert order(queue) == [1, 2]


def test_no_forecast_is_negative_when_a_job_takes_longer_than_its_like() -> None:
    queue = turns(job(1), job(2))
    queue.learn(job(0), replace(result_for(REQUEST), seconds={"denoise": 0.0}))
    run = queue.begin()
    run.since -= 3600
    assert queue.seconds_left(run) == 0
    run.progress = Progress(stage="denoise", step=4, total=4, seconds=2.0)
    assert queue.seconds_left(run) == 0
    assert [place.seconds for place in queue.places()] == [0]
