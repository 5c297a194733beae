"""The load of the samplers: its limit follows their pace, and what could not be answered soon is refused."""

import asyncio
import time
from collections.abc import Callable

import pytest

from contract.errors import ErrorCode, ServiceError
from contract.sampling import CheckpointPlace, SampleSpec
from service.load import FEWEST, LEAST_WEIGHT, Load, Share
from service.mailbox import Mailbox
from tests.service.playing import Sampler

TIMEOUT_SECONDS = 30.0
MOST = 2500
EACH_MS = 1.0
"""What one sample costs a sampler, as it tells."""
Join = Callable[..., Share]


def sheet(images: int, generator: str = "0") -> SampleSpec:
    return SampleSpec(digest="sha256:" + generator * 64, seed=0, count=images)


@pytest.fixture
def load() -> Load:
    return Load(most_images=MOST, timeout_seconds=TIMEOUT_SECONDS)


@pytest.fixture
def join(load: Load) -> Join:
    """Adds a request for this many images to the load, at this time."""

    def one(now: float = 0.0, images: int = 1, generator: str = "0") -> Share:
        return load.join(sheet(images, generator), now)

    return one


def work(load: Load, join: Join, *, per_second: float, seconds: float, start: float = 0.0) -> float:
    """Simulate samplers that always find a full batch of 64 waiting; return when they stopped."""
    now, queue = start, [join(start) for _ in range(128)]
    while now < start + seconds:
        now += 64 / per_second
        batch, queue = queue[:64], queue[64:] + [join(now) for _ in range(64)]
        for one in batch:
            load.answered(one, now, EACH_MS)
    for one in queue:
        load.leave(one)
    return now


@pytest.mark.parametrize("pace", [100, 1000])
def test_the_line_holds_what_samplers_drain_in_a_second(load: Load, join: Join, pace: int) -> None:
    assert load.limit == MOST
    work(load, join, per_second=pace, seconds=2)
    assert load.limit == pytest.approx(pace, rel=0.2)
    waiting = [join(100.0) for _ in range(pace // 2)]
    assert load.seconds_to_empty == pytest.approx(0.5, rel=0.2)
    assert load._requests == len(waiting)


def test_limit_follows_the_samplers_pace_within_seconds_of_work(load: Load, join: Join) -> None:
    now = work(load, join, per_second=2000, seconds=2)
    work(load, join, per_second=400, seconds=12, start=now + 1000)
    assert load.limit == pytest.approx(400, rel=0.1)


def test_limit_never_falls_below_a_full_batch(load: Load, join: Join) -> None:
    work(load, join, per_second=5, seconds=60)
    assert load.limit == LEAST_WEIGHT


def test_limit_never_exceeds_the_configured_maximum(load: Load, join: Join) -> None:
    work(load, join, per_second=10 * MOST, seconds=0.5)
    assert load.limit == MOST


def test_idle_time_does_not_count_as_slowness(load: Load, join: Join) -> None:
    for second in range(100):
        load.leave(join(second))
        load.answered(join(second + 0.5), second + 0.51, EACH_MS)
    assert load.limit == pytest.approx(8 * 100, rel=0.01)


def test_sequential_requests_do_not_lower_the_limit(load: Load, join: Join) -> None:
    now = 1 + work(load, join, per_second=2000, seconds=2)
    limit = load.limit
    for _ in range(1000):
        now += 0.003
        load.answered(join(now - 0.003), now, EACH_MS)
    assert load.limit == limit
    for _ in range(6):  # for example, of one web page
        load.require_room(sheet(64))
        join(now, images=64)


@pytest.mark.parametrize("pace", [100, 300, 800])
def test_one_large_sheet_does_not_block_small_requests(load: Load, join: Join, pace: int) -> None:
    now = work(load, join, per_second=pace, seconds=5)
    join(now, images=1024)
    for _ in range(10):
        assert not load.is_full
        load.require_room(sheet(1))
        join(now)


def test_large_sheet_finds_room_while_a_few_requests_are_waiting(load: Load, join: Join) -> None:
    now = work(load, join, per_second=300, seconds=5)
    for _ in range(20):
        join(now)
    load.require_room(sheet(1024))


@pytest.mark.parametrize("most", [1, 3, 4, 7])
def test_line_with_a_tiny_limit_can_be_full(join: Join, load: Load, most: int) -> None:
    load._most = most
    for _ in range(max(most, FEWEST)):
        load.require_room(sheet(1))
        join()
    assert load.is_full
    with pytest.raises(ServiceError):
        load.require_room(sheet(1))


def test_request_that_could_not_be_answered_in_time_is_refused(load: Load, join: Join) -> None:
    now = work(load, join, per_second=50, seconds=20)
    join(now, images=1024)  # takes 20 of the 30 s before the timeout
    load.require_room(sheet(1))
    with pytest.raises(ServiceError) as refusal:
        load.require_room(sheet(1024))
    assert refusal.value.retry_after_seconds == pytest.approx(1024 / 50, rel=0.1)
    assert not load.is_full


def test_large_sheet_that_takes_too_long_does_not_refuse_small_requests(load: Load, join: Join) -> None:
    now = work(load, join, per_second=44, seconds=20)
    join(now, images=1024)  # takes 23 of the 30 s before the timeout
    for _ in range(2 * FEWEST):
        load.require_room(sheet(1))
        join(now)
    with pytest.raises(ServiceError):
        load.require_room(sheet(LEAST_WEIGHT))


def test_small_requests_are_refused_if_they_alone_take_too_long(load: Load, join: Join) -> None:
    now = work(load, join, per_second=2, seconds=200)
    for _ in range(44):  # 22 s
        load.require_room(sheet(1))
        join(now)
    with pytest.raises(ServiceError):
        load.require_room(sheet(2))


def between(load: Load, join: Join, *, start: float, seconds: float, each_ms: float = EACH_MS) -> float:
    """Five times a second a single picture is answered, while a sheet is being rendered."""
    now = start
    while now < start + seconds:
        one = join(now)
        now += 0.2
        load.answered(one, now, each_ms)
    return now


def test_single_pictures_answered_while_a_sheet_is_rendered_do_not_look_like_all_that_samplers_can(
    load: Load, join: Join
) -> None:
    now = work(load, join, per_second=100, seconds=20)
    large = join(now, images=1000)
    now = between(load, join, start=now, seconds=10.5)
    assert load.seconds_to_empty == pytest.approx(10, rel=0.1)
    load.require_room(sheet(1000))
    load.answered(large, now, EACH_MS)
    join(now, images=1000)
    assert load.seconds_to_empty == pytest.approx(10, rel=0.1)


def test_pace_stays_unknown_while_the_first_sheet_is_rendered(load: Load, join: Join) -> None:
    load.learn(sheet(1), 10.0)
    join(images=1000)
    between(load, join, start=0, seconds=10)
    assert load.limit == MOST


@pytest.mark.parametrize(
    ("sheets", "until"), [([1000], 20), ([400, 400], 16), ([900, 900, 900], TIMEOUT_SECONDS)]
)
def test_sheet_that_is_lost_does_not_hide_the_pace(
    load: Load, join: Join, sheets: list[int], until: float
) -> None:
    now = work(load, join, per_second=100, seconds=20)
    for images in sheets:
        join(now, images=images)
    now = between(load, join, start=now, seconds=until - 1)
    assert load.limit == pytest.approx(100, rel=0.1)
    between(load, join, start=now, seconds=10)
    assert load.limit == LEAST_WEIGHT


@pytest.mark.parametrize("generator", ["0", "1"])
def test_pace_stays_while_a_sheet_takes_much_longer_than_guessed(
    load: Load, join: Join, generator: str
) -> None:
    """Of a generator that is ten times as slow as the one heard of, or as any is before that."""
    now = work(load, join, per_second=1000, seconds=5) if generator == "1" else 0.0
    join(now, images=1000, generator=generator)
    seconds = load.seconds_to_empty
    between(load, join, start=now, seconds=20)
    assert load.seconds_to_empty == pytest.approx(seconds, rel=0.1)


def test_pace_guessed_from_single_pictures_does_not_make_sheets_seem_overdue(load: Load, join: Join) -> None:
    now = 0.0
    for _ in range(20):
        one = join(now)
        now += 0.02
        load.answered(one, now, 20.0)
    join(now, images=1000)  # takes 20 seconds
    seconds = load.seconds_to_empty
    between(load, join, start=now, seconds=19, each_ms=20.0)
    assert load.seconds_to_empty == pytest.approx(seconds, rel=0.1)


def test_pace_follows_sheets_while_others_wait(load: Load, join: Join) -> None:
    now = work(load, join, per_second=400, seconds=20)
    one, _ = join(now, images=400), join(now, images=1000)
    load.answered(one, now + 4, EACH_MS)
    assert load.limit < 300


def test_pace_follows_single_pictures_as_soon_as_no_sheet_waits(load: Load, join: Join) -> None:
    now = work(load, join, per_second=100, seconds=20)
    load.answered(join(now, images=1000), now + 1, EACH_MS)
    work(load, join, per_second=800, seconds=3, start=now + 1)
    assert load.limit > 600


@pytest.mark.parametrize("pace", [100, 300])
def test_sheet_of_a_new_generator_does_not_refuse_requests_for_others(
    load: Load, join: Join, pace: int
) -> None:
    now = work(load, join, per_second=pace, seconds=10)
    join(now, images=1024, generator="1")
    assert load.seconds_to_empty == pytest.approx(1024 / pace, rel=0.1)
    for images in (1, LEAST_WEIGHT, 256):
        load.require_room(sheet(images))
        join(now, images=images)


def test_sheet_of_a_new_generator_is_not_refused_for_what_it_is_guessed_to_cost(
    load: Load, join: Join
) -> None:
    now = work(load, join, per_second=50, seconds=20)
    join(now, images=1024)
    load.require_room(sheet(1024, generator="1"))


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
        return mailbox.load.limit

    assert asyncio.run(limit_after_a_refusal()) == MOST


def test_full_line_refuses_by_number_of_images_with_retry_after(load: Load, join: Join) -> None:
    now = work(load, join, per_second=500, seconds=2)
    quarter = load.limit // FEWEST
    for _ in range(FEWEST - 1):
        join(now, images=quarter)
    join(now, images=quarter - 1)
    load.require_room(sheet(1))
    assert not load.is_full
    with pytest.raises(ServiceError) as refusal:
        load.require_room(sheet(2))
    assert refusal.value.code is ErrorCode.SAMPLER_BUSY
    join(now)
    assert load.is_full
    assert refusal.value.retry_after_seconds == pytest.approx(1, rel=0.01)


def test_empty_line_admits_what_can_be_answered_in_time(load: Load, join: Join) -> None:
    work(load, join, per_second=100, seconds=2)
    load.require_room(sheet(1024))


@pytest.mark.parametrize("is_pace_known", [True, False])
def test_request_that_no_sampler_could_answer_in_time_is_refused_even_by_an_empty_line(
    load: Load, join: Join, is_pace_known: bool
) -> None:
    if is_pace_known:
        work(load, join, per_second=1000, seconds=2)
    load.learn(sheet(1, "1"), 1500.0)
    with pytest.raises(ServiceError) as refusal:
        load.require_room(sheet(1024, "1"))
    assert refusal.value.code is ErrorCode.INVALID_REQUEST
    assert refusal.value.retry_after_seconds is None
    assert "ask for fewer at a time, 15 at most" in refusal.value.detail
    load.require_room(sheet(15, "1"))
    load.require_room(sheet(1024, "2"))  # nobody knows what this costs


def test_what_is_not_known_to_take_long_is_not_refused_for_that(load: Load) -> None:
    load.require_room(
        enlarged := sheet(1024).model_copy(update={"scale": 8, "format": "webp"})
    )  # nothing is known yet
    load.learn(sheet(1), 1.0)
    load.require_room(enlarged)  # enlarging costs the sampler as little for any generator
    load.learn(sheet(1), 40.0)
    load.require_room(sheet(1024))  # a sampler may be twice as fast as at that moment


def test_single_sample_is_never_refused_by_an_empty_line(load: Load) -> None:
    load.learn(sheet(1), 25_000.0)
    load.require_room(sheet(1))


def test_cost_measured_at_a_bad_moment_does_not_count_once_the_pace_shows_it(load: Load, join: Join) -> None:
    load.learn(sheet(1), 60.0)
    with pytest.raises(ServiceError):
        load.require_room(sheet(1024))
    for second in range(10):
        load.answered(join(second), second + 0.010, 60.0)
    load.require_room(sheet(1024))
