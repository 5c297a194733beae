"""The consumer answers every ask that it can, small ones first, and no frame in the queue stops it."""

import io
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from contract.errors import ErrorCode
from contract.keys import SAMPLES_WAITING_FOR
from contract.latents import pack
from contract.sampling import CheckpointPlace, SampleSpec
from contract.volume import Volume
from contract.wire import Ask
from models.environment import NumericEnvironment, detect
from models.sampler import Sampler
from tests.worker.asking import PATIENCE_SECONDS, PLACE, Gateway
from worker.engine import Engine
from worker.formats import FORMATS
from worker.formats.png import encode_png
from worker.portions import MOST_WEIGHT, portions
from worker.process import WorkerProcess
from worker.roles import SampleDuty
from worker.sampling import SampleConsumer
from worker.settings import Settings

Start = Callable[..., SampleConsumer]


def future_format(ask: Ask) -> bytes:
    fields = json.loads(ask.pack())
    fields[3]["format"] = "hologram"
    return json.dumps(fields).encode()


def with_field(ask: Ask, index: int, value: object) -> bytes:
    fields = json.loads(ask.pack())
    fields[index] = value
    return json.dumps(fields).encode()


UNREADABLE: dict[str, Callable[[Ask], bytes]] = {
    "a format of a newer gateway": future_format,
    "no JSON": lambda _: b"\xff\x00",
    "a number": lambda _: b"7",
    "nothing": lambda _: b"",
    "too few fields": lambda _: b"[]",
    "an object": lambda _: b'{"a":1,"b":2,"c":3,"d":4,"e":5}',
    "bottomless": lambda _: b"[" * 200_000,
    "no deadline": lambda ask: with_field(ask, 2, None),
    "a gateway without a name": lambda ask: with_field(ask, 1, 7),
    "a gateway that is no text": lambda ask: with_field(ask, 1, "\ud800"),
    "an id that is a list": lambda ask: with_field(ask, 0, []),
}


def test_unreadable_frames_affect_no_others(gateway: Gateway, engine: Engine, start: Start) -> None:
    before, after = gateway.ask(1), gateway.ask(2)
    gateway.push(before, *(spoil(gateway.ask(3)) for spoil in UNREADABLE.values()), after)
    consumer = start(engine)
    assert [(answer.id, answer.error) for answer in gateway.answers(2)] == [
        (before.id, None),
        (after.id, None),
    ]
    assert consumer.is_well


class Stumbling(Engine):
    """Raises an error once."""

    def __init__(self, volume: Volume, environment: NumericEnvironment, limit_bytes: int) -> None:
        super().__init__(volume, environment, limit_bytes)
        self.stumbles = iter([OverflowError("once")])

    def sampler(self, spec: SampleSpec, place: CheckpointPlace) -> Sampler | None:
        for stumble in self.stumbles:
            raise stumble
        return super().sampler(spec, place)


def test_unexpected_error_fails_only_its_own_asks(gateway: Gateway, volume: Volume, start: Start) -> None:
    gateway.push(gateway.ask(1))
    start(Stumbling(volume, detect("cpu", 1, "float32"), 0))
    assert gateway.answers(1)[0].error is ErrorCode.INTERNAL
    gateway.push(gateway.ask(2))
    assert gateway.answers(1)[0].error is None


def test_encoding_error_fails_only_its_own_ask(
    gateway: Gateway, engine: Engine, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def superstitious(tiles: NDArray[np.uint8], spec: SampleSpec) -> bytes:
        if spec.seed == 13:
            raise OverflowError("not this one")
        return encode_png(tiles, spec)

    monkeypatch.setitem(FORMATS, "png", superstitious)
    gateway.push(*(gateway.ask(seed) for seed in (12, 13, 14)))
    start(engine)
    assert [answer.error for answer in gateway.answers(3)] == [None, ErrorCode.INTERNAL, None]


def test_batch_holds_at_most_its_limit_of_asks_in_order(
    gateway: Gateway, engine: Engine, redis_url: str
) -> None:
    asks = [gateway.ask(seed) for seed in range(5)]
    gateway.push(*asks)
    consumer = SampleConsumer("sample-1", redis_url, engine, "ours", batch_limit=3)
    taken = [[ask.spec.seed for ask in consumer._take()] for _ in range(2)]
    assert taken == [[0, 1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("counts", "encoding"), [([1], {"sampling"}), ([1, 1], {"replies"}), ([2], {"replies"})]
)
def test_only_a_sample_alone_in_its_batch_is_encoded_by_the_rendering_thread(
    counts: list[int],
    encoding: set[str],
    gateway: Gateway,
    engine: Engine,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: set[str] = set()

    def noted(tiles: NDArray[np.uint8], spec: SampleSpec) -> bytes:
        threads.add(threading.current_thread().name)
        return encode_png(tiles, spec)

    monkeypatch.setitem(FORMATS, "png", noted)
    gateway.push(*(gateway.ask(seed, count=count) for seed, count in enumerate(counts)))
    start(engine)
    assert not any(answer.error for answer in gateway.answers(len(counts)))
    assert threads == encoding


def test_answer_that_redis_has_no_memory_for_is_logged_briefly(
    gateway: Gateway, engine: Engine, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.push(gateway.ask(1, count=64))
    gateway.redis.config_set("maxmemory", 1)
    try:
        start(engine)
        for _ in range(PATIENCE_SECONDS * 10):
            if "answers were lost" in caplog.text:
                break
            time.sleep(0.1)
    finally:
        gateway.redis.config_set("maxmemory", 0)
    (lost,) = [one.getMessage() for one in caplog.records if "answers were lost" in one.getMessage()]
    assert "maxmemory" in lost
    assert len(lost) < 200
    gateway.push(gateway.ask(2))
    assert gateway.answers(1)[0].error is None


def test_missing_generator_is_refused_as_unreadable(
    gateway: Gateway, engine: Engine, start: Start, volume: Volume
) -> None:
    volume.checkpoint(PLACE.job, PLACE.file).unlink()
    gateway.push(gateway.ask(1))
    start(engine)
    answer = gateway.answers(1)[0]
    assert answer.error is ErrorCode.CHECKPOINT_UNREADABLE
    assert PLACE.file in answer.detail


def test_ask_past_its_deadline_is_not_answered(gateway: Gateway, engine: Engine, start: Start) -> None:
    late, timely = with_field(gateway.ask(1), 2, gateway.now_ms() - 1), gateway.ask(2)
    gateway.push(late, timely)
    start(engine)
    assert gateway.answers(1)[0].id == timely.id


def test_single_image_does_not_wait_for_the_sheets_of_its_batch(
    gateway: Gateway, engine: Engine, start: Start
) -> None:
    huge, middle, small = gateway.ask(1, count=1024), gateway.ask(2, count=9), gateway.ask(3)
    gateway.push(huge, middle, small)
    start(engine)
    assert [answer.id for answer in gateway.answers(3)] == [small.id, middle.id, huge.id]


def test_picture_is_the_same_alone_and_in_a_batch(gateway: Gateway, engine: Engine, start: Start) -> None:
    asks = [gateway.ask(seed, count) for seed, count in ((5, 1), (7, 70), (5, 300), (9, 1), (900, 130))]
    gateway.push(*asks)
    start(engine)
    together = {answer.id: answer.content for answer in gateway.answers(len(asks))}
    for ask in asks:
        gateway.push(ask)
        assert gateway.answers(1)[0].content == together[ask.id]


def test_pixels_of_an_npz_equal_those_of_a_png_in_the_same_batch(
    gateway: Gateway, engine: Engine, start: Start
) -> None:
    numbers, picture = gateway.ask(7, format="npz"), gateway.ask(7)
    gateway.push(picture, numbers)
    start(engine)
    contents = {answer.id: answer.content for answer in gateway.answers(2)}
    with np.load(io.BytesIO(contents[numbers.id])) as arrays:
        shown = np.asarray(Image.open(io.BytesIO(contents[picture.id])))
        assert np.array_equal(arrays["pixels"][0, :, :, 0], shown)


def test_portions_do_not_mix_formats_of_numbers_with_others(gateway: Gateway) -> None:
    asks = [gateway.ask(seed, format=chosen) for seed, chosen in enumerate(("npz", "png", "zip", "npz"))]
    assert sorted([ask.spec.format for ask in portion] for portion in portions(asks)) == [
        ["npz", "npz"],
        ["png", "zip"],
    ]


def test_only_the_ask_that_the_generator_cannot_fulfil_is_refused(
    gateway: Gateway, engine: Engine, start: Start
) -> None:
    too_large, fine = gateway.ask(1, 1024, scale=9), gateway.ask(3)
    gateway.push(too_large, fine)
    start(engine)
    errors = {answer.id: (answer.error, answer.field) for answer in gateway.answers(2)}
    assert errors == {too_large.id: (ErrorCode.INVALID_REQUEST, "count"), fine.id: (None, "")}


def test_portions_do_not_mix_drawn_truncated_and_given_latents(gateway: Gateway) -> None:
    asks = [gateway.ask(1), gateway.ask(2, truncation=0.5), gateway.ask(3, truncation=0.5)]
    given = [gateway.ask(0, latents=pack([[float(number)]])) for number in range(2)]
    assert sorted(len(portion) for portion in portions([*asks, *given])) == [1, 2, 2]


def test_portions_are_bounded_in_images_and_contain_every_ask(gateway: Gateway) -> None:
    counts = [1, 1024, 3, 1, 255, 2, 256, 257, 1, 200] * 30
    asks = [gateway.ask(seed, count) for seed, count in enumerate(counts)]
    served = portions(asks)
    assert sorted(ask.id for portion in served for ask in portion) == sorted(ask.id for ask in asks)
    for portion in served:
        assert len(portion) == 1 or sum(ask.spec.count for ask in portion) <= MOST_WEIGHT
    largest = [max(ask.spec.count for ask in portion) for portion in served]
    assert largest == sorted(largest)


def test_asks_that_are_slow_to_encode_weigh_more(gateway: Gateway) -> None:
    smooth: dict[str, Any] = {"format": "webp", "scale": 16, "resample": "lanczos"}
    asks = [gateway.ask(seed, **smooth) for seed in range(3)]
    asks += [gateway.ask(seed, scale=16) for seed in range(20)]
    asks += [gateway.ask(seed) for seed in range(100)]
    served = portions(asks)
    assert set(asks[-100:]) <= set(served[0])
    assert [[ask] for ask in asks[:3]] == [portion for portion in served if portion[0].spec.format == "webp"]
    for portion in served:
        assert len(portion) == 1 or sum(ask.spec.weight for ask in portion) <= MOST_WEIGHT


def test_sampler_can_be_asked_by_name(gateway: Gateway, engine: Engine, start: Start, volume: Volume) -> None:
    others = Engine(volume, detect("cpu", 1, "float32"), 2**30)
    start(engine, "sample-7")
    start(others, "sample-8")
    for name in ("sample-7", "sample-8", "sample-7"):
        gateway.redis.rpush(SAMPLES_WAITING_FOR + name, gateway.ask(0).pack())
    assert len({answer.content for answer in gateway.answers(3)}) == 1
    spec = gateway.ask(0).spec
    assert engine.sampler(spec, PLACE) is not None
    assert others.sampler(spec, PLACE) is not None


def test_portion_is_for_one_generator() -> None:
    asks = [
        Ask(str(seed), "g0", 0, SampleSpec(digest=f"sha256:{seed % 3:064x}", seed=seed, count=1), PLACE)
        for seed in range(9)
    ]
    assert [len({ask.spec.digest for ask in portion}) for portion in portions(asks)] == [1, 1, 1]


def test_idle_sampler_logs_that_once_per_renderer(
    redis_url: str, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = SampleConsumer("sample-1", redis_url, engine, "ours", 64)
    said = []
    for renderer in ("theirs", "theirs", "ours", "ours", "theirs", "others"):
        consumer.adopt(renderer)
        said.append(sum("idle" in message for message in caplog.messages))
    assert said == [1, 1, 1, 1, 2, 3]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_consumer_that_ended_without_being_stopped_is_not_well(
    gateway: Gateway, volume: Volume, start: Start
) -> None:
    class Fatal(Engine):
        def sampler(self, spec: SampleSpec, place: CheckpointPlace) -> Sampler | None:
            del spec, place
            raise SystemExit

    consumer = start(Fatal(volume, detect("cpu", 1, "float32"), 0))
    assert consumer.is_well
    gateway.push(gateway.ask(1))
    threading.Thread.join(consumer, PATIENCE_SECONDS)
    assert not consumer.is_well


def test_sampler_is_well_before_during_and_after_its_service(redis_url: str, volume: Volume) -> None:
    settings = Settings(data_root=volume.root, redis_url=redis_url, device="cpu")
    duty = SampleDuty(WorkerProcess.create("sample-1", settings))
    assert duty.is_well()
    duty.start()
    assert duty.is_well()
    assert duty.facts()["precisions"] == ("auto",)
    duty.stop()
    assert duty.is_well()
