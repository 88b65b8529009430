"""Which job runs next: fair between members, sparing switches of models, starving none."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bot.scheduling import Scheduler, Waiting

# a slow machine is no defect
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

MODELS = ["dev", "fill", "schnell"]
NEWCOMER = 1000

members = st.integers(1, 6)
models = st.sampled_from(MODELS)
seconds = st.floats(1, 4)
mixes = st.lists(st.tuples(members, models, seconds), min_size=1, max_size=40)
clocks = st.floats(-1e6, 1e6)


def job(number: int, member: int = 1, model: str = "dev", seconds: float = 1.0) -> Waiting:
    return Waiting(id=number, member=member, model=model, seconds=seconds)


def numbered(mix: Iterable[tuple[int, str, float]], first: int = 1) -> list[Waiting]:
    return [job(number, *values) for number, values in enumerate(mix, first)]


def scheduler(*jobs: Waiting, extra_wait: float = 30, most_passes: int = 20) -> Scheduler:
    made = Scheduler(extra_wait=extra_wait, most_passes=most_passes)
    for each in jobs:
        made.add(each)
    return made


def drained(queue: Scheduler, jobs: Iterable[Waiting], resident: str = "") -> list[Waiting]:
    """Return all jobs in the order in which one worker takes them, each as long as forecast."""
    by_id, taken, now = {each.id: each for each in jobs}, [], 0.0
    while (job_id := queue.take((resident,), now)) is not None:
        taken.append(by_id[job_id])
        resident, now = taken[-1].model, now + taken[-1].seconds
        queue.charge(job_id, taken[-1].seconds, now)
    return taken


def test_no_job_is_taken_where_none_waits() -> None:
    assert Scheduler().take((), 0) is None
    assert list(Scheduler().order((), 0)) == []


def test_one_job_never_waits_behind_the_fifty_of_another() -> None:
    queue = scheduler(*(job(number) for number in range(1, 51)))
    assert queue.take(("dev",), 0) == 1
    queue.add(job(51, member=2))
    assert queue.take(("dev",), 0) == 51


def test_members_take_turns_by_gpu_time_and_not_by_jobs() -> None:
    queue = scheduler(
        *(job(number, member=1, seconds=4) for number in (1, 2)),
        *(job(number, member=2, seconds=1) for number in (3, 4, 5, 6, 7)),
    )
    assert list(queue.order(("dev",), 0)) == [1, 3, 4, 5, 6, 2, 7]


def test_what_a_job_really_took_replaces_its_forecast() -> None:
    queue = scheduler(job(1, seconds=1), job(2), job(3, member=2, seconds=5), job(4, member=2))
    assert queue.take((), 0) == 1
    assert queue.take((), 0) == 3
    queue.charge(1, 60.0, 0)
    queue.charge(3, 5.0, 0)
    assert queue.take((), 0) == 4


def test_a_job_is_charged_once_and_only_if_it_was_taken() -> None:
    queue = scheduler(job(1))
    with pytest.raises(KeyError):
        queue.charge(1, 1.0, 0)
    queue.take((), 0)
    queue.charge(1, 1.0, 0)
    with pytest.raises(KeyError):
        queue.charge(1, 1.0, 0)


def test_gpu_time_counts_within_the_window_alone() -> None:
    queue = scheduler(job(1, seconds=100), job(2), job(3, member=2), job(4, member=2))
    assert queue.take((), 0) == 1
    queue.charge(1, 100.0, 100)
    assert list(queue.order((), 3699)) == [3, 4, 2]
    assert list(queue.order((), 3701)) == [2, 3, 4]


def test_gpu_time_of_earlier_processes_counts_in_whatever_order_it_is_told() -> None:
    queue = scheduler(job(1), job(2, member=2), job(3, member=3))
    queue.charge_member(1, 30.0, 1000)
    queue.charge_member(2, 60.0, 500)
    assert list(queue.order((), 1000)) == [3, 1, 2]
    assert list(queue.order((), 4200)) == [2, 3, 1]
    assert list(queue.order((), 4700)) == [1, 2, 3]


def test_a_job_whose_model_is_on_the_device_goes_first_for_thirty_seconds_in_all() -> None:
    others = [job(number, member=number, seconds=10) for number in range(2, 9)]
    queue = scheduler(job(1, model="fill"), *others)
    assert list(queue.order(("dev",), 0))[:4] == [2, 3, 4, 1]


def test_each_that_comes_can_be_overtaken_anew() -> None:
    queue = scheduler()
    for first in range(1, 60, 3):
        queue.add(job(first, member=first, model="fill"))
        queue.add(job(first + 1, member=first + 1, seconds=10))
        queue.add(job(first + 2, member=first + 1, seconds=10))
        taken = [queue.take(("dev",), 0) for _ in range(3)]
        assert taken == [first + 1, first + 2, first]


def test_a_job_that_waits_is_known_and_one_that_is_removed_is_not() -> None:
    queue = scheduler(job(1), job(2), job(3, member=2))
    queue.remove(1)
    assert sorted(queue.order((), 0)) == [2, 3]
    with pytest.raises(KeyError):
        queue.remove(1)
    with pytest.raises(ValueError, match="job 2 waits already"):
        queue.add(job(2))
    assert list(queue.order((), 0)) == [2, 3]


def test_a_job_that_enters_late_goes_by_its_number() -> None:
    assert list(scheduler(job(2), job(1), job(3)).order((), 0)) == [1, 2, 3]


@pytest.mark.parametrize("most_passes", [0, 256])
def test_passes_that_cannot_be_counted_are_refused(most_passes: int) -> None:
    with pytest.raises(ValueError, match="1 to 255"):
        Scheduler(most_passes=most_passes)


@given(st.integers(1, 30), st.integers(1, 3))
def test_a_job_is_passed_by_no_more_newcomers_than_allowed(most_passes: int, heavy: int) -> None:
    queue = scheduler(most_passes=most_passes)
    for member in range(heavy):
        queue.charge_member(member, 1000.0, 0)
        queue.add(job(member + 1, member=member, model="fill"))
    taken = []
    for number in range(100, 100 + most_passes + heavy):
        queue.add(job(number, member=number))
        taken.append(queue.take(("dev",), 0))
    assert taken[most_passes:] == [member + 1 for member in range(heavy)]


@given(mixes, st.integers(1, 10), st.floats(0, 60))
def test_whoever_is_first_in_line_is_taken_within_a_bound(
    mix: list[tuple[int, str, float]], most_passes: int, extra_wait: float
) -> None:
    jobs = numbered(mix)
    queue = scheduler(*jobs, extra_wait=extra_wait, most_passes=most_passes)
    by_id, resident = {each.id: each for each in jobs}, "dev"
    since = {each.member: 0 for each in jobs}
    for turn in range(len(jobs) * (most_passes + len(jobs)) + 1):
        # newcomers without end
        queue.add(job(100 + turn, member=100 + turn))
        job_id = queue.take((resident,), 0)
        assert job_id is not None
        if job_id in by_id:
            member = by_id[job_id].member
            # passed by later arrivals, and behind older jobs that were passed so as well
            assert turn - since[member] <= most_passes + len(jobs)
            since[member], resident = turn, by_id[job_id].model
        else:
            resident = "dev"
    assert by_id.keys().isdisjoint(queue.order((), 0))


@given(mixes, models)
def test_every_job_is_taken_once_and_none_waits_for_nothing(
    mix: list[tuple[int, str, float]], resident: str
) -> None:
    jobs = numbered(mix)
    taken = drained(scheduler(*jobs), jobs, resident)
    assert sorted(each.id for each in taken) == [each.id for each in jobs]


@given(mixes, models, st.floats(0, 60), st.integers(1, 20))
def test_the_jobs_of_a_member_are_taken_in_the_order_in_which_they_came(
    mix: list[tuple[int, str, float]], resident: str, extra_wait: float, most_passes: int
) -> None:
    jobs = numbered(mix)
    queue = scheduler(*jobs, extra_wait=extra_wait, most_passes=most_passes)
    taken = drained(queue, jobs, resident)
    for member in {each.member for each in jobs}:
        ids = [each.id for each in taken if each.member == member]
        assert ids == sorted(ids)


@given(mixes, st.integers(0, 40), models, st.floats(0, 12))
def test_a_newcomer_waits_for_one_job_of_each_other_and_the_extra_wait(
    mix: list[tuple[int, str, float]], before: int, model: str, extra_wait: float
) -> None:
    jobs = numbered(mix)
    # jobs take a second or more: those that go first cannot come to 100
    queue = scheduler(*jobs, extra_wait=extra_wait, most_passes=100)
    by_id, resident = {each.id: each for each in jobs}, ""
    for _ in range(min(before, len(jobs))):
        job_id = queue.take((resident,), 0)
        assert job_id is not None
        resident = by_id[job_id].model
    queue.add(job(NEWCOMER, member=NEWCOMER, model=model))
    served: Counter[int] = Counter()
    extra = 0.0
    while (job_id := queue.take((resident,), 0)) != NEWCOMER:
        assert job_id is not None
        taken = by_id[job_id]
        resident = taken.model
        extra += taken.seconds if served[taken.member] else 0
        served[taken.member] += 1
    assert extra <= extra_wait + 1e-6


@given(st.lists(seconds, min_size=1, max_size=40), st.floats(0, 60), st.booleans())
def test_jobs_on_the_device_hold_up_the_fair_choice_by_the_extra_wait_at_most(
    lengths: list[float], extra_wait: float, alone: bool
) -> None:
    jobs = [job(1, model="fill")]
    for number, length in enumerate(lengths, 2):
        jobs.append(job(number, member=2 if alone else number, seconds=length))
    queue = scheduler(*jobs, extra_wait=extra_wait, most_passes=100)
    taken = drained(queue, jobs, "dev")
    ahead = list(itertools.takewhile(lambda each: each.id != 1, taken))
    assert sum(each.seconds for each in ahead) <= extra_wait + 1e-6
    if len(taken) > len(ahead) + 1:  # and they use what they may
        after = taken[len(ahead) + 1 :]
        assert sum(each.seconds for each in ahead) + after[0].seconds > extra_wait - 1e-6


@given(mixes, mixes, models, st.floats(0, 60), st.integers(1, 20), st.integers(0, 20))
def test_the_order_is_what_taking_then_gives_and_changes_nothing(
    mix: list[tuple[int, str, float]],
    more: list[tuple[int, str, float]],
    resident: str,
    extra_wait: float,
    most_passes: int,
    before: int,
) -> None:
    jobs, later = numbered(mix), numbered(more, first=len(mix) + 1)
    queue = scheduler(*jobs, extra_wait=extra_wait, most_passes=most_passes)
    for turn in range(before):
        if (job_id := queue.take((resident,), turn)) is not None and turn % 2:
            queue.charge(job_id, 7.0, turn)
    for each in later:
        queue.add(each)
    by_id = {each.id: each for each in (*jobs, *later)}
    foreseen = list(queue.order((resident,), before))
    assert list(queue.order((resident,), before)) == foreseen
    taken = []
    while (job_id := queue.take((resident,), before)) is not None:
        taken.append(job_id)
        resident = by_id[job_id].model
    assert taken == foreseen


@given(mixes, st.lists(clocks, min_size=1))
def test_a_clock_that_jumps_takes_no_job_away_and_gives_none_twice(
    mix: list[tuple[int, str, float]], times: list[float]
) -> None:
    jobs = numbered(mix)
    queue, times_again, taken = scheduler(*jobs), itertools.cycle(times), []
    while (job_id := queue.take((), next(times_again))) is not None:
        queue.charge(job_id, 1.0, next(times_again))
        taken.append(job_id)
    assert sorted(taken) == [each.id for each in jobs]


@given(st.floats(1, 1e6))
def test_a_clock_that_jumps_back_keeps_a_charge_no_longer_than_the_window(back: float) -> None:
    queue = scheduler(job(1, seconds=100), job(2), job(3, member=2))
    queue.take((), 0)
    queue.charge(1, 100.0, 0)
    assert list(queue.order((), -back)) == [3, 2]
    assert queue.take((), -back) == 3
    queue.charge(3, 1.0, -back)
    queue.add(job(4, member=2))
    assert list(queue.order((), -back + 3599)) == [4, 2]
    assert list(queue.order((), -back + 3601)) == [2, 4]


@given(st.lists(st.tuples(st.integers(0, 3), members, models, seconds), max_size=150))
def test_the_fair_choice_is_that_of_a_plain_search_however_often_charges_change(
    acts: list[tuple[int, int, str, float]],
) -> None:
    queue, waiting, running = scheduler(most_passes=255), dict[int, Waiting](), list[Waiting]()
    spent = Counter[int]()
    for number, (act, member, model, length) in enumerate(acts):
        if act < 2:
            waiting[number] = job(number, member, model, round(length, 3))
            queue.add(waiting[number])
        elif act == 2 and waiting:
            heads = {each.member: each for each in reversed(waiting.values())}
            fair = min(heads.values(), key=lambda each: (spent[each.member], each.id))
            assert queue.take((), 0) == fair.id
            running.append(waiting.pop(fair.id))
            spent[running[-1].member] += round(1000 * running[-1].seconds)
        elif act == 3 and running:
            ended = running.pop(0)
            queue.charge(ended.id, length, 0)
            spent[ended.member] += round(1000 * length) - round(1000 * ended.seconds)
    assert sorted(queue.order((), 0)) == sorted(waiting)


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "cancel", "run"]), members, seconds, st.floats(0, 1800)),
        max_size=60,
    )
)
def test_a_restart_keeps_the_order(acts: list[tuple[str, int, float, float]]) -> None:
    queue, waiting, charges, now = scheduler(most_passes=255), dict[int, Waiting](), [], 0.0
    for number, (act, member, length, later) in enumerate(acts):
        now += later
        if act == "add":
            waiting[number] = job(number, member, seconds=length)
            queue.add(waiting[number])
        elif act == "cancel" and waiting:
            number = list(waiting)[number % len(waiting)]
            queue.remove(number)
            del waiting[number]
        elif act == "run" and (taken := queue.take(("dev",), now)) is not None:
            queue.charge(taken, length, now)
            charges.append((waiting.pop(taken).member, length, now))
    restarted = scheduler(most_passes=255)
    for charge in charges:
        restarted.charge_member(*charge)
    for number in sorted(waiting):
        restarted.add(waiting[number])
    assert list(restarted.order(("dev",), now)) == list(queue.order(("dev",), now))


@given(mixes, st.sets(st.integers(1, 40)), models, st.randoms(use_true_random=False))
def test_a_restart_keeps_the_order_of_what_was_never_begun(
    mix: list[tuple[int, str, float]], cancelled: set[int], resident: str, draw: random.Random
) -> None:
    jobs = numbered(mix)
    shuffled = draw.sample(jobs, len(jobs))
    queue = scheduler(*shuffled)
    for each in shuffled:
        if each.id in cancelled:
            queue.remove(each.id)
    restarted = scheduler(*(each for each in jobs if each.id not in cancelled))
    assert list(restarted.order((resident,), 0)) == list(queue.order((resident,), 0))


class Life(RuleBasedStateMachine):
    """Jobs in all that may happen to them, against plain sets of those that wait and run."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Scheduler(most_passes=5)
        self.waiting: dict[int, Waiting] = {}
        self.running: list[int] = []
        self.over: list[int] = []
        self.now, self.number = 0.0, 0

    @rule(member=members, model=models, length=seconds)
    def arrive(self, member: int, model: str, length: float) -> None:
        self.number += 1
        self.waiting[self.number] = job(self.number, member, model, length)
        self.queue.add(self.waiting[self.number])

    @rule(passes=st.floats(-3600, 3600))
    def pass_time(self, passes: float) -> None:
        self.now += passes

    @rule(resident=models)
    def take(self, resident: str) -> None:
        foreseen = next(self.queue.order((resident,), self.now), None)
        taken = self.queue.take((resident,), self.now)
        assert taken == foreseen
        if taken is None:
            assert not self.waiting
            return
        begun = self.waiting.pop(taken)
        assert not any(
            each.member == begun.member and each.id < taken for each in self.waiting.values()
        )
        self.running.append(taken)

    @precondition(lambda self: self.running)
    @rule(length=seconds)
    def end(self, length: float) -> None:
        self.over.append(self.running.pop(0))
        self.queue.charge(self.over[-1], length, self.now)

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0))
    def cancel_what_waits(self, which: int) -> None:
        self.over.append(list(self.waiting)[which % len(self.waiting)])
        del self.waiting[self.over[-1]]
        self.queue.remove(self.over[-1])

    @precondition(lambda self: self.running or self.over)
    @rule()
    def cancel_what_waits_no_more(self) -> None:
        for job_id in (*self.running, *self.over):
            with pytest.raises(KeyError):
                self.queue.remove(job_id)

    @precondition(lambda self: self.waiting or self.over)
    @rule()
    def end_what_does_not_run(self) -> None:
        for job_id in (*self.waiting, *self.over):
            with pytest.raises(KeyError):
                self.queue.charge(job_id, 1.0, self.now)

    @invariant()
    def all_that_wait_have_their_place(self) -> None:
        assert sorted(self.queue.order(("dev",), self.now)) == sorted(self.waiting)


class TestLife(Life.TestCase):  # type: ignore[misc, valid-type]
    """What holds of jobs whatever happens to them."""

    settings = settings(max_examples=50, stateful_step_count=40)
