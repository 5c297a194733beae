"""The line of requests: lost ones are found by the order in which they were pushed."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from random import Random

import pytest

from contract.sampling import CheckpointPlace, SampleSpec
from contract.wire import Ask
from service.line import Line, Waiting
from service.load import LEAST_WEIGHT, Load

TIMEOUT_SECONDS = 30.0
EACH_MS = 1.0
"""What one sample costs a sampler, as it tells."""
Join = Callable[..., Waiting]


@pytest.fixture
def load() -> Load:
    return Load(most_images=2500, timeout_seconds=TIMEOUT_SECONDS)


@pytest.fixture
def line(load: Load) -> Line:
    return Line(load, timeout_seconds=TIMEOUT_SECONDS)


@pytest.fixture
def join(line: Line) -> Iterator[Join]:
    """Adds a request for this many images to the line, at this time."""
    loop = asyncio.new_event_loop()
    place = CheckpointPlace(job="job_" + "0" * 16, file="f")
    numbers = itertools.count()

    def one(now: float = 0.0, images: int = 1) -> Waiting:
        spec = SampleSpec(digest="sha256:" + "0" * 64, seed=0, count=images)
        ask = Ask(f"{next(numbers)}", "gateway", 0, spec, place)
        waiting = Waiting(ask, "", now + TIMEOUT_SECONDS, loop.create_future())
        line.join(waiting, now)
        return waiting

    yield one
    loop.close()


def work(line: Line, join: Join, *, per_second: float) -> float:
    """Simulate samplers that answer full batches at this pace for ten seconds; return when they stopped."""
    now = 0.0
    while now < 10:
        batch = join(now, images=LEAST_WEIGHT)
        now += LEAST_WEIGHT / per_second
        line.answered(batch, now, EACH_MS)
    return now


def test_requests_refused_by_samplers_do_not_change_the_pace(line: Line, load: Load, join: Join) -> None:
    now = work(line, join, per_second=300)
    limit, busy = load.limit, join(now)
    for _ in range(100):
        line.refused(join(now, images=128))
    assert load.limit == limit
    assert line.all() == [busy]


def test_refusal_by_a_sampler_shows_that_earlier_requests_were_taken(line: Line, join: Join) -> None:
    lost, refused = join(), join()
    line.refused(refused)
    line.lost(0.1)
    assert line.lost(TIMEOUT_SECONDS) == [lost]


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
    now = work(line, join, per_second=100)
    sheet = join(now, images=1024)
    line.take_up_to(sheet.place)
    sheet.taken_since = now
    assert line.lost(now) == []
    assert line.lost(now + 1.9 * 1024 / 100) == [], "its sampler may have paused for half of the time"
    assert line.lost(now + 2.1 * 1024 / 100) == [sheet]


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


def test_sheet_that_pictures_have_passed_is_not_lost_before_it_was_taken(line: Line, join: Join) -> None:
    sheet, brief, answered = join(images=1000), join(), join()
    line.answered(answered, 0.1, EACH_MS)
    assert line.passed(9) == [sheet]
    line.lost(0.1)
    assert line.lost(TIMEOUT_SECONDS) == [brief]
    sheet.taken_since = TIMEOUT_SECONDS
    assert line.passed(9) == []
    assert line.lost(TIMEOUT_SECONDS + 0.1) == [brief]
    assert line.lost(2 * TIMEOUT_SECONDS) == [sheet, brief]
    line.again([sheet])
    assert line.passed(9) == []


def test_only_the_first_of_those_that_others_have_passed_are_looked_for(line: Line, join: Join) -> None:
    first, second, _, answered = join(images=100), join(images=100), join(images=100), join()
    line.answered(answered, 0.1, EACH_MS)
    assert line.passed(2) == [first, second]


def test_work_that_was_not_taken_does_not_delay_what_was(line: Line, join: Join) -> None:
    now = work(line, join, per_second=100)
    join(now, images=1000)
    taken, answered = join(now), join(now)
    line.answered(answered, now, EACH_MS)
    line.lost(now)
    assert line.lost(now + 1) == [taken]


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


def test_totals_always_match_the_requests_in_the_line(line: Line, load: Load, join: Join) -> None:
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
        shares = [one.share for one in line.all()]
        assert load._requests == len(shares)
        assert load._weight == sum(one.spec.weight for one in shares)
        assert load._room == sum(one.room for one in shares)
        assert load._work == sum(one.work for one in shares)
        assert load._light_work == sum(one.work for one in shares if one.is_light)
        assert load._work_at_worst == sum(one.work_at_worst for one in shares)
        assert load._heavy == sum(not one.is_light for one in shares)
        assert load.is_any_large == any(one.is_large for one in shares)
