"""The line of requests: its limit follows the samplers' pace, and lost requests are found."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from random import Random

import pytest

from contract.errors import ErrorCode, ServiceError
from contract.sampling import CheckpointPlace, SampleSpec
from contract.wire import Ask
from service.line import FEWEST, LEAST_WEIGHT, Line, Waiting
from service.mailbox import Mailbox
from tests.service.playing import Sampler

TIMEOUT_SECONDS = 30.0
MOST = 2500
EACH_MS = 1.0
"""What one sample costs a sampler, as it tells."""
Join = Callable[..., Waiting]


def sheet(images: int, generator: str = "0") -> SampleSpec:
    return SampleSpec(digest="sha256:" + generator * 64, seed=0, count=images)


@pytest.fixture
def line() -> Line:
    return Line(most_images=MOST, timeout_seconds=TIMEOUT_SECONDS)


@pytest.fixture
def join(line: Line) -> Iterator[Join]:
    """Adds a request for this many images to the line, at this time."""
    loop = asyncio.new_event_loop()
    place = CheckpointPlace(job="job_" + "0" * 16, file="f")
    numbers = itertools.count()

    def one(now: float = 0.0, images: int = 1, generator: str = "0") -> Waiting:
        ask = Ask(f"{next(numbers)}", "gateway", 0, sheet(images, generator), place)
        waiting = Waiting(ask, "", now + TIMEOUT_SECONDS, loop.create_future())
        line.join(waiting, now)
        return waiting

    yield one
    loop.close()


def work(line: Line, join: Join, *, per_second: float, seconds: float, start: float = 0.0) -> float:
    """Simulate samplers that always find a full batch of 64 waiting; return when they stopped."""
    now, queue = start, [join(start) for _ in range(128)]
    while now < start + seconds:
        now += 64 / per_second
        batch, queue = queue[:64], queue[64:] + [join(now) for _ in range(64)]
        for one in batch:
            line.answered(one, now, EACH_MS)
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


def test_limit_follows_the_samplers_pace_within_seconds_of_work(line: Line, join: Join) -> None:
    now = work(line, join, per_second=2000, seconds=2)
    work(line, join, per_second=400, seconds=12, start=now + 1000)
    assert line.limit == pytest.approx(400, rel=0.1)


def test_limit_never_falls_below_a_full_batch(line: Line, join: Join) -> None:
    work(line, join, per_second=5, seconds=60)
    assert line.limit == LEAST_WEIGHT


def test_limit_never_exceeds_the_configured_maximum(line: Line, join: Join) -> None:
    work(line, join, per_second=10 * MOST, seconds=0.5)
    assert line.limit == MOST


def test_idle_time_does_not_count_as_slowness(line: Line, join: Join) -> None:
    for second in range(100):
        line.leave(join(second))
        line.answered(join(second + 0.5), second + 0.51, EACH_MS)
    assert line.limit == pytest.approx(8 * 100, rel=0.01)


def test_sequential_requests_do_not_lower_the_limit(line: Line, join: Join) -> None:
    now = 1 + work(line, join, per_second=2000, seconds=2)
    limit = line.limit
    for _ in range(1000):
        now += 0.003
        line.answered(join(now - 0.003), now, EACH_MS)
    assert line.limit == limit
    for _ in range(6):  # for example, of one web page
        line.require_room(sheet(64))
        join(now, images=64)


@pytest.mark.parametrize("pace", [100, 300, 800])
def test_one_large_sheet_does_not_block_small_requests(line: Line, join: Join, pace: int) -> None:
    now = work(line, join, per_second=pace, seconds=5)
    join(now, images=1024)
    for _ in range(10):
        assert not line.is_full
        line.require_room(sheet(1))
        join(now)


def test_large_sheet_finds_room_while_a_few_requests_are_waiting(line: Line, join: Join) -> None:
    now = work(line, join, per_second=300, seconds=5)
    for _ in range(20):
        join(now)
    line.require_room(sheet(1024))


@pytest.mark.parametrize("most", [1, 3, 4, 7])
def test_line_with_a_tiny_limit_can_be_full(join: Join, line: Line, most: int) -> None:
    line._most = most
    for _ in range(max(most, FEWEST)):
        line.require_room(sheet(1))
        join()
    assert line.is_full
    with pytest.raises(ServiceError):
        line.require_room(sheet(1))


def test_request_that_could_not_be_answered_in_time_is_refused(line: Line, join: Join) -> None:
    now = work(line, join, per_second=50, seconds=20)
    join(now, images=1024)  # takes 20 of the 30 s before the timeout
    line.require_room(sheet(1))
    with pytest.raises(ServiceError) as refusal:
        line.require_room(sheet(1024))
    assert refusal.value.retry_after_seconds == pytest.approx(1024 / 50, rel=0.1)
    assert not line.is_full


def test_large_sheet_that_takes_too_long_does_not_refuse_small_requests(line: Line, join: Join) -> None:
    now = work(line, join, per_second=44, seconds=20)
    join(now, images=1024)  # takes 23 of the 30 s before the timeout
    for _ in range(2 * FEWEST):
        line.require_room(sheet(1))
        join(now)
    with pytest.raises(ServiceError):
        line.require_room(sheet(LEAST_WEIGHT))


def test_small_requests_are_refused_if_they_alone_take_too_long(line: Line, join: Join) -> None:
    now = work(line, join, per_second=2, seconds=200)
    for _ in range(44):  # 22 s
        line.require_room(sheet(1))
        join(now)
    with pytest.raises(ServiceError):
        line.require_room(sheet(2))


@pytest.mark.parametrize("pace", [100, 300])
def test_sheet_of_a_new_generator_does_not_refuse_requests_for_others(
    line: Line, join: Join, pace: int
) -> None:
    now = work(line, join, per_second=pace, seconds=10)
    join(now, images=1024, generator="1")
    assert line.seconds_to_empty == pytest.approx(1024 / pace, rel=0.1)
    for images in (1, LEAST_WEIGHT, 256):
        line.require_room(sheet(images))
        join(now, images=images)


def test_sheet_of_a_new_generator_is_not_refused_for_what_it_is_guessed_to_cost(
    line: Line, join: Join
) -> None:
    now = work(line, join, per_second=50, seconds=20)
    join(now, images=1024)
    line.require_room(sheet(1024, generator="1"))


def test_requests_refused_by_samplers_do_not_change_the_pace(line: Line, join: Join) -> None:
    now = work(line, join, per_second=300, seconds=4)
    limit, busy = line.limit, join(now)
    for _ in range(100):
        line.refused(join(now, images=128))
    assert line.limit == limit
    assert line.all() == [busy]


def test_refusal_by_a_sampler_shows_that_earlier_requests_were_taken(line: Line, join: Join) -> None:
    lost, refused = join(), join()
    line.refused(refused)
    line.lost(0.1)
    assert line.lost(TIMEOUT_SECONDS) == [lost]


def test_refusals_before_the_first_rendering_leave_the_pace_unknown(redis_url: str, sampler: Sampler) -> None:
    spec = SampleSpec(digest="sha256:" + "0" * 64, seed=0)
    place = CheckpointPlace(job="job_" + "0" * 16, file="f")
    sampler.refusal = (ErrorCode.INVALID_REQUEST, "That many pixels are too many.", "count")

    async def limit_after_a_refusal() -> int:
        mailbox = Mailbox(redis_url, timeout_seconds=20, queue_limit=MOST)
        running = asyncio.create_task(mailbox.run())
        with pytest.raises(ServiceError):
            await mailbox.ask(spec, place, mailbox.deadline(time.monotonic()))
        mailbox.close()
        await running
        return mailbox.line.limit

    assert asyncio.run(limit_after_a_refusal()) == MOST


def test_full_line_refuses_by_number_of_images_with_retry_after(line: Line, join: Join) -> None:
    now = work(line, join, per_second=500, seconds=2)
    quarter = line.limit // FEWEST
    for _ in range(FEWEST - 1):
        join(now, images=quarter)
    join(now, images=quarter - 1)
    line.require_room(sheet(1))
    assert not line.is_full
    with pytest.raises(ServiceError) as refusal:
        line.require_room(sheet(2))
    assert refusal.value.code is ErrorCode.SAMPLER_BUSY
    join(now)
    assert line.is_full
    assert refusal.value.retry_after_seconds == pytest.approx(1, rel=0.01)


def test_empty_line_admits_any_request(line: Line, join: Join) -> None:
    work(line, join, per_second=100, seconds=2)
    line.require_room(sheet(1024))


def test_requests_taken_but_not_answered_are_pushed_again_and_waiting_ones_are_not(
    line: Line, join: Join
) -> None:
    lost, answered, still_waits = join(), join(), join()
    line.answered(answered, 0.1, EACH_MS)
    assert line.lost(0.1) == []
    assert line.lost(0.2) == []
    assert line.lost(TIMEOUT_SECONDS) == [lost]
    line.again([lost])
    assert lost.place > still_waits.place
    assert line.lost(2 * TIMEOUT_SECONDS) == []  # it waits again: nothing after it was answered


def test_sheet_is_not_pushed_again_before_it_could_be_rendered(line: Line, join: Join) -> None:
    now = work(line, join, per_second=100, seconds=10)
    sheet = join(now, images=1024)
    line.take_up_to(sheet.place)
    assert line.lost(now) == []
    assert line.lost(now + 1024 / 100) == []
    assert line.lost(now + 2 * 1024 / 100) == [sheet]


def test_empty_list_shows_that_all_requests_pushed_before_it_was_read_were_taken(
    line: Line, join: Join
) -> None:
    first, second = join(), join()
    pushed = second.place
    since = join()
    line.take_up_to(pushed)
    line.lost(0.1)
    assert line.lost(TIMEOUT_SECONDS) == [first, second]
    assert since in line.all()


def test_request_is_pushed_again_three_times_at_growing_intervals(line: Line, join: Join) -> None:
    ask, moments = join(), []
    for tick in range(1000):
        line.take_up_to(ask.place)
        if lost := line.lost(tick / 10):
            line.again(lost)
            moments.append(tick / 10)
    first, second, third = moments
    assert first < second - first < third - second


def test_answer_after_a_second_push_does_not_show_that_earlier_requests_were_taken(
    line: Line, join: Join
) -> None:
    asked_twice = join()
    line.take_up_to(asked_twice.place)
    line.lost(0.1)
    still_waits = join()
    assert line.lost(TIMEOUT_SECONDS) == [asked_twice]
    line.again([asked_twice])
    line.answered(asked_twice, TIMEOUT_SECONDS, EACH_MS)
    line.lost(TIMEOUT_SECONDS)
    assert line.lost(3 * TIMEOUT_SECONDS) == []
    assert line.all() == [still_waits]


def test_totals_always_match_the_requests_in_the_line(line: Line, join: Join) -> None:
    chance = Random(0)
    for step in range(2000):
        now, waiting = step / 100, line.all()
        match chance.randrange(6 if waiting else 1):
            case 0:
                join(now, images=chance.choice([1, 20, 100]))
            case 1:
                line.answered(chance.choice(waiting), now, EACH_MS)
            case 2:
                line.leave(chance.choice(waiting))
            case 3:
                line.take_up_to(chance.choice(waiting).place)
            case 4:
                line.again(line.lost(now))
            case 5:
                line.refused(chance.choice(waiting))
        places = [one.place for one in line.all()]
        assert places == sorted(places)
        assert line._weight == sum(one.weight for one in line.all())
        assert line._work == sum(one.work for one in line.all())
        assert line._work_at_worst == sum(one.work_at_worst for one in line.all())
        assert line._room_taken == sum(one.room for one in line.all())
        assert line.is_any_heavy == any(one.is_heavy for one in line.all())
