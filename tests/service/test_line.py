"""The line of asks: its length follows the samplers' pace, and who was lost in it is found."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from contract.errors import ErrorCode, ServiceError
from contract.sampling import CheckpointPlace, SampleSpec
from contract.wire import Ask
from service.line import FEWEST, LEAST_WEIGHT, Line, Waiting
from service.mailbox import Mailbox

TIMEOUT_SECONDS = 30.0
MOST = 2500
Join = Callable[..., Waiting]


@pytest.fixture
def line() -> Line:
    return Line(most_images=MOST, timeout_seconds=TIMEOUT_SECONDS)


@pytest.fixture
def join(line: Line) -> Iterator[Join]:
    """Lets an ask of so many images join at a moment."""
    loop = asyncio.new_event_loop()
    place = CheckpointPlace(job="job_" + "0" * 16, file="f")
    numbers = itertools.count()

    def one(now: float = 0.0, images: int = 1) -> Waiting:
        spec = SampleSpec(digest="sha256:" + "0" * 64, seed=0, count=images)
        waiting = Waiting(Ask(f"{next(numbers)}", "gateway", 0, spec, place), b"", loop.create_future())
        line.join(waiting, now)
        return waiting

    yield one
    loop.close()


def work(line: Line, join: Join, *, per_second: float, seconds: float, start: float = 0.0) -> float:
    """Samplers that answer batches of 64 at this pace, and always find more until they stop."""
    now, queue = start, [join(start) for _ in range(128)]
    while now < start + seconds:
        now += 64 / per_second
        batch, queue = queue[:64], queue[64:] + [join(now) for _ in range(64)]
        for one in batch:
            line.answered(one, now)
    for one in queue:
        line.leave(one)
    return now


@pytest.mark.parametrize("pace", [100, 1000])
def test_the_line_holds_what_samplers_drain_in_a_second(line: Line, join: Join, pace: int) -> None:
    assert line.limit == MOST
    work(line, join, per_second=pace, seconds=2)
    assert line.limit == pytest.approx(pace, rel=0.2)
    waiting = [join(100.0) for _ in range(pace // 2)]
    assert line.seconds_to_empty == pytest.approx(0.5, rel=0.2)
    assert len(line) == len(waiting)


def test_the_pace_follows_the_samplers_within_some_seconds_of_work(line: Line, join: Join) -> None:
    now = work(line, join, per_second=2000, seconds=2)
    work(line, join, per_second=400, seconds=12, start=now + 1000)
    assert line.limit == pytest.approx(400, rel=0.1)


def test_slow_samplers_keep_a_batch_waiting(line: Line, join: Join) -> None:
    work(line, join, per_second=5, seconds=60)
    assert line.limit == LEAST_WEIGHT


def test_fast_ones_keep_no_more_than_the_most(line: Line, join: Join) -> None:
    work(line, join, per_second=10 * MOST, seconds=0.5)
    assert line.limit == MOST


def test_idle_time_is_not_slowness(line: Line, join: Join) -> None:
    for second in range(100):
        line.leave(join(second))
        line.answered(join(second + 0.5), second + 0.51)
    assert line.limit == pytest.approx(8 * 100, rel=0.01)


def test_few_who_come_one_after_the_other_are_not_all_that_samplers_can_answer(
    line: Line, join: Join
) -> None:
    now = work(line, join, per_second=2000, seconds=2)
    limit = line.limit
    for _ in range(1000):
        now += 0.003
        line.answered(join(now - 0.003), now)
    assert line.limit == limit
    for _ in range(6):  # of one page, say
        line.require_room(64)
        join(now, images=64)


@pytest.mark.parametrize("pace", [100, 300, 800])
def test_one_large_sheet_keeps_nobody_else_from_being_answered(line: Line, join: Join, pace: int) -> None:
    now = work(line, join, per_second=pace, seconds=5)
    join(now, images=1024)
    for _ in range(10):
        assert not line.is_full
        line.require_room(1)
        join(now)


def test_a_large_sheet_finds_room_where_a_few_are_always_waiting(line: Line, join: Join) -> None:
    now = work(line, join, per_second=300, seconds=5)
    for _ in range(20):
        join(now)
    line.require_room(1024)


@pytest.mark.parametrize("most", [1, 3, 4, 7])
def test_a_short_line_is_full_too(join: Join, line: Line, most: int) -> None:
    line._most = most
    for _ in range(max(most, FEWEST)):
        line.require_room(1)
        join()
    assert line.is_full
    with pytest.raises(ServiceError):
        line.require_room(1)


def test_what_could_not_be_answered_in_time_is_refused(line: Line, join: Join) -> None:
    now = work(line, join, per_second=50, seconds=20)
    join(now, images=1024)  # 20 of the 30 s that anybody waits
    line.require_room(1)
    with pytest.raises(ServiceError) as refusal:
        line.require_room(1024)
    assert refusal.value.retry_after_seconds == pytest.approx(1024 / 50, rel=0.1)
    assert not line.is_full


def test_what_samplers_refuse_is_no_work_and_tells_nothing_of_their_pace(line: Line, join: Join) -> None:
    now = work(line, join, per_second=300, seconds=4)
    limit, busy = line.limit, join(now)
    for _ in range(100):
        line.refused(join(now, images=128))
    assert line.limit == limit
    assert line.all() == [busy]


def test_a_refusal_says_as_well_that_those_before_it_were_taken(line: Line, join: Join) -> None:
    lost, refused = join(), join()
    line.refused(refused)
    line.lost(0.1)
    assert line.lost(TIMEOUT_SECONDS) == [lost]


def test_before_anything_was_rendered_refusals_leave_the_pace_unknown(redis_url: str, sampler: Any) -> None:
    spec = SampleSpec(digest="sha256:" + "0" * 64, seed=0)
    place = CheckpointPlace(job="job_" + "0" * 16, file="f")
    sampler.refusal = (ErrorCode.INVALID_REQUEST, "That many pixels are too many.")

    async def limit_after_a_refusal() -> int:
        mailbox = Mailbox(redis_url, timeout_seconds=20, queue_limit=MOST)
        running = asyncio.create_task(mailbox.run())
        with pytest.raises(ServiceError):
            await mailbox.ask(spec, place)
        mailbox.close()
        await running
        return mailbox.line.limit

    assert asyncio.run(limit_after_a_refusal()) == MOST


def test_a_full_line_refuses_by_images_and_says_when_to_come_back(line: Line, join: Join) -> None:
    now = work(line, join, per_second=500, seconds=2)
    sheet = line.limit // FEWEST
    for _ in range(FEWEST - 1):
        join(now, images=sheet)
    join(now, images=sheet - 1)
    line.require_room(1)
    assert not line.is_full
    with pytest.raises(ServiceError) as refusal:
        line.require_room(2)
    assert refusal.value.code is ErrorCode.SAMPLER_BUSY
    join(now)
    assert line.is_full
    assert refusal.value.retry_after_seconds == pytest.approx(1, rel=0.01)


def test_one_may_always_join_an_empty_line(line: Line, join: Join) -> None:
    work(line, join, per_second=100, seconds=2)
    line.require_room(1024)


def test_what_was_taken_and_not_answered_is_asked_again_and_what_waits_is_not(line: Line, join: Join) -> None:
    lost, answered, still_waits = join(), join(), join()
    line.answered(answered, 0.1)
    assert line.lost(0.1) == []
    assert line.lost(0.2) == []
    assert line.lost(TIMEOUT_SECONDS) == [lost]
    assert lost.place > still_waits.place
    assert line.lost(2 * TIMEOUT_SECONDS) == []  # it waits again: nothing after it was answered


def test_a_sheet_is_not_asked_for_again_before_it_can_be_there(line: Line, join: Join) -> None:
    now = work(line, join, per_second=100, seconds=10)
    sheet = join(now, images=1024)
    line.take_up_to(sheet.place)
    assert line.lost(now) == []
    assert line.lost(now + 1024 / 100) == []
    assert line.lost(now + 2 * 1024 / 100) == [sheet]


def test_an_empty_list_says_that_all_were_taken_but_those_pushed_since(line: Line, join: Join) -> None:
    first, second = join(), join()
    pushed = second.place
    since = join()
    line.take_up_to(pushed)
    line.lost(0.1)
    assert line.lost(TIMEOUT_SECONDS) == [first, second]
    assert since in line.all()


def test_it_is_asked_for_thrice_more_at_growing_intervals_and_no_more(line: Line, join: Join) -> None:
    ask, moments = join(), []
    for tick in range(1000):
        line.take_up_to(ask.place)
        if line.lost(tick / 10):
            moments.append(tick / 10)
    first, second, third = moments
    assert first < second - first < third - second


def test_the_answer_to_an_earlier_asking_says_nothing_of_the_places_before_the_later_one(
    line: Line, join: Join
) -> None:
    asked_twice = join()
    line.take_up_to(asked_twice.place)
    line.lost(0.1)
    still_waits = join()
    assert line.lost(TIMEOUT_SECONDS) == [asked_twice]
    line.answered(asked_twice, TIMEOUT_SECONDS)
    line.lost(TIMEOUT_SECONDS)
    assert line.lost(3 * TIMEOUT_SECONDS) == []
    assert line.all() == [still_waits]


def test_whatever_happens_the_line_is_as_long_as_those_in_it(line: Line, join: Join) -> None:
    chance = Random(0)
    for step in range(2000):
        now, waiting = step / 100, line.all()
        match chance.randrange(6 if waiting else 1):
            case 0:
                join(now, images=chance.choice([1, 20, 100]))
            case 1:
                line.answered(chance.choice(waiting), now)
            case 2:
                line.leave(chance.choice(waiting))
            case 3:
                line.take_up_to(chance.choice(waiting).place)
            case 4:
                line.lost(now)
            case 5:
                line.refused(chance.choice(waiting))
        places = [one.place for one in line.all()]
        assert places == sorted(places)
        assert line._weight == sum(one.weight for one in line.all())
        assert line._room_taken == sum(one.room for one in line.all())
        assert line.is_any_heavy == any(one.is_heavy for one in line.all())
