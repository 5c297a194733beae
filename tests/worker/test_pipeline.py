"""Loading, rendering and encoding run concurrently, and each reports its health."""

import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.errors import ErrorCode
from contract.keys import SAMPLES_WAITING
from contract.sampling import SampleSpec
from contract.volume import Volume
from models.environment import detect
from models.sampler import Sampler
from models.silence import silent
from tests.worker.asking import PATIENCE_SECONDS, PLACE, SPEC, Gateway, save_generator
from tests.worker.slow import OTHER, Slow
from worker.engine import Engine
from worker.formats import FORMATS
from worker.formats.png import encode_png
from worker.replies import Replies
from worker.sampling import SampleConsumer
from worker.store import BREATH_SECONDS

Start = Callable[[Engine], SampleConsumer]


@pytest.fixture
def slow(volume: Volume) -> Iterator[Slow]:
    engine = Slow(volume)
    yield engine
    engine.may_load.set()


def other_gateway(url: str, volume: Volume) -> Gateway:
    """A gateway that asks for another generator."""
    return Gateway(url, save_generator(volume, 1, OTHER), OTHER)


def test_loaded_generator_does_not_wait_while_another_is_loading(
    gateway: Gateway, redis_url: str, volume: Volume, slow: Slow, start: Start
) -> None:
    gateway.push(gateway.ask(1))
    start(slow)
    gateway.answers(1)
    late = other_gateway(redis_url, volume).ask(1)
    gateway.push(late, *(gateway.ask(seed) for seed in range(3)))
    assert late.id not in {answer.id for answer in gateway.answers(3)}
    slow.may_load.set()
    assert [(answer.id, answer.error) for answer in gateway.answers(1)] == [(late.id, None)]


def test_damaged_generator_fails_only_its_own_asks(
    gateway: Gateway, redis_url: str, volume: Volume, engine: Engine, start: Start
) -> None:
    other = other_gateway(redis_url, volume)
    damaged = volume.checkpoint(OTHER.job, OTHER.file)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    bad = [other.ask(seed) for seed in range(3)]
    good = [gateway.ask(seed) for seed in range(3)]
    gateway.push(*bad, *good)
    start(engine)
    errors = {answer.id: answer.error for answer in gateway.answers(6)}
    assert errors == {
        **{ask.id: ErrorCode.CHECKPOINT_UNREADABLE for ask in bad},
        **{ask.id: None for ask in good},
    }


def test_next_portion_is_rendered_while_one_is_encoded(
    gateway: Gateway, engine: Engine, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet_was_rendered = threading.Event()
    render = Sampler.render_latents

    def rendering(
        sampler: Sampler, drawn: NDArray[np.float32], after_pass: Callable[[], None] = silent
    ) -> NDArray[np.uint8]:
        if len(drawn) == 9:
            sheet_was_rendered.set()
        return render(sampler, drawn, after_pass)

    def encoding(tiles: NDArray[np.uint8], spec: SampleSpec) -> bytes:
        assert sheet_was_rendered.wait(PATIENCE_SECONDS)
        return encode_png(tiles, spec)

    monkeypatch.setattr(Sampler, "render_latents", rendering)
    monkeypatch.setitem(FORMATS, "png", encoding)
    gateway.push(gateway.ask(1), gateway.ask(2, count=9))
    start(engine)
    assert [answer.error for answer in gateway.answers(2)] == [None, None]


def test_portion_whose_deadline_passes_during_the_batch_is_not_rendered(
    gateway: Gateway, engine: Engine, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[int] = []
    consumers: list[SampleConsumer] = []
    render = Sampler.render_latents

    def taking_ages(
        sampler: Sampler, drawn: NDArray[np.float32], after_pass: Callable[[], None] = silent
    ) -> NDArray[np.uint8]:
        rendered.append(len(drawn))
        pixels = render(sampler, drawn, after_pass)
        consumers[0]._line._clock_offset_ms += 2 * PATIENCE_SECONDS * 1000
        return pixels

    single, sheet = gateway.ask(1), gateway.ask(2, count=9)
    gateway.push(single, sheet)
    monkeypatch.setattr(Sampler, "render_latents", taking_ages)
    consumers.append(start(engine))
    assert gateway.answers(1)[0].id == single.id
    later = gateway.ask(3)
    gateway.push(later)
    assert gateway.answers(1)[0].id == later.id
    assert rendered == [1, 1]


def test_answer_reports_the_time_of_each_stage(gateway: Gateway, engine: Engine, start: Start) -> None:
    gateway.push(gateway.ask(1), gateway.ask(2, count=500))
    start(engine)
    one, sheet = gateway.answers(2)
    assert one.stages
    assert sheet.stages
    assert min(one.stages.batch, one.stages.encode, sheet.stages.encode) >= 0
    assert min(one.stages.forward, sheet.stages.forward) > 0
    assert one.stages.each == sheet.stages.each > 0
    assert sheet.stages.batch > one.stages.batch + one.stages.forward - 0.02  # rounded to hundredths


def test_refusal_reports_no_stages(gateway: Gateway, engine: Engine, start: Start, volume: Volume) -> None:
    volume.checkpoint(PLACE.job, PLACE.file).unlink()
    gateway.push(gateway.ask(1))
    start(engine)
    assert gateway.answers(1)[0].stages is None


def test_float32_is_rendered_on_request(gateway: Gateway, volume: Volume, start: Start) -> None:
    fastest, exact = gateway.ask(7, 64), gateway.ask(7, 64, precision="float32")
    gateway.push(fastest, exact)
    start(Engine(volume, detect("cpu", 1, "bfloat16"), 2**30))
    contents = {answer.id: answer.content for answer in gateway.answers(2)}
    path = volume.checkpoint(PLACE.job, PLACE.file)
    sampler = Sampler.load(path, exact.spec.digest, detect("cpu", 1, "float32"))
    assert contents[exact.id] == encode_png(sampler.render(exact.spec.seeds), exact.spec)
    assert contents[fastest.id] != encode_png(sampler.render(fastest.spec.seeds), fastest.spec)


def until(holds: Callable[[], bool]) -> None:
    tick = threading.Event()
    assert any(holds() or tick.wait(0.01) for _ in range(100 * PATIENCE_SECONDS))


class Watched(Engine):
    """Records which thread was set up to use it."""

    user = ""

    def begin(self) -> None:
        super().begin()
        self.user = threading.current_thread().name

    def probe(self) -> None:
        assert self.user == threading.current_thread().name
        super().probe()


def test_serving_thread_is_set_up_before_it_renders(volume: Volume, start: Start) -> None:
    engine = Watched(volume, detect("cpu", 1, "float32"), 2**30)
    consumer = start(engine)
    until(lambda: consumer.trouble is None)
    assert engine.user == consumer.name


class Broken(Engine):
    """Its forward pass fails until `is_mended` is set."""

    is_mended = False

    def probe(self) -> None:
        if not self.is_mended:
            raise RuntimeError("the device is gone")
        super().probe()


def test_failing_forward_pass_is_reported_until_it_works_again(volume: Volume, start: Start) -> None:
    engine = Broken(volume, detect("cpu", 1, "float32"), 2**30)
    consumer = start(engine)
    until(lambda: "the device is gone" in str(consumer.trouble))
    engine.is_mended = True
    until(lambda: consumer.trouble is None)
    consumer.adopt("another")
    assert "another" in str(consumer.trouble)


def test_sampler_that_renders_wrongly_takes_no_requests(
    gateway: Gateway, volume: Volume, start: Start
) -> None:
    engine = Broken(volume, detect("cpu", 1, "float32"), 2**30)
    consumer = start(engine)
    until(lambda: "the device is gone" in str(consumer.trouble))
    gateway.push(gateway.ask(1))
    assert not gateway.hears_within(3 * BREATH_SECONDS)
    engine.is_mended = True
    assert len(gateway.answers(1)) == 1


def test_sampler_whose_device_fails_leaves_its_requests_to_others(
    gateway: Gateway, volume: Volume, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Broken(volume, detect("cpu", 1, "float32"), 2**30)
    engine.is_mended = True
    consumer = start(engine)
    gateway.push(gateway.ask(1))
    gateway.answers(1)

    def fail(*_: object) -> NoReturn:
        engine.is_mended = False
        raise RuntimeError("the device is gone")

    monkeypatch.setattr("worker.sampling.render", fail)
    gateway.push(gateway.ask(2), gateway.ask(3, count=4))
    until(lambda: "the device is gone" in str(consumer.trouble))
    gateway.push(gateway.ask(4))
    assert not gateway.hears_within(3 * BREATH_SECONDS)
    assert gateway.redis.llen(SAMPLES_WAITING) == 1


def test_idle_sampler_has_run_a_forward_pass(engine: Engine, start: Start) -> None:
    consumer = start(engine)
    until(lambda: consumer.trouble is None)
    assert engine._canary is not None
    assert SPEC.resolution == engine._canary.header.spec.resolution


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_sampler_whose_reply_thread_has_died_is_not_well(
    gateway: Gateway, engine: Engine, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ending(replies: Replies, answers: object) -> None:
        raise SystemExit

    monkeypatch.setattr(Replies, "_send", ending)
    consumer = start(engine)
    assert consumer.is_well
    gateway.push(gateway.ask(1, count=2))  # a lone sample is not sent by this thread
    consumer._replies.join(PATIENCE_SECONDS)
    assert not consumer._replies.is_alive()
    assert not consumer.is_well
