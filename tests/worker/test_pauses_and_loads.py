"""A pause of a heavy portion serves asks whose generators are loaded meanwhile, and lets others be loaded."""

from collections.abc import Callable, Iterator
from concurrent.futures import wait

import pytest

from contract.sampling import BRIEF_WEIGHT, CheckpointPlace
from contract.volume import Volume
from tests.worker.asking import PATIENCE_SECONDS, PLACE, Gateway, save_generator
from tests.worker.passes import PASSES, SHEET, Passes
from tests.worker.slow import OTHER, Slow
from worker.portions import PAUSE_WEIGHT
from worker.sampling import SampleConsumer

Start = Callable[..., SampleConsumer]


@pytest.fixture
def slow(volume: Volume) -> Iterator[Slow]:
    engine = Slow(volume)
    yield engine
    engine.may_load.set()


@pytest.fixture
def other(redis_url: str, volume: Volume) -> Gateway:
    """Asks for another generator, which is loaded late."""
    return Gateway(redis_url, save_generator(volume, 1, OTHER), OTHER)


@pytest.mark.parametrize("loaded_after", [2, PASSES])
def test_ask_for_a_generator_that_is_not_loaded_waits_for_that_and_no_longer(
    loaded_after: int, gateway: Gateway, other: Gateway, slow: Slow, start: Start, passes: Passes
) -> None:
    sheet, of_others, single = gateway.ask(1, SHEET), other.ask(2, SHEET), other.ask(3)
    gateway.push(sheet, of_others)
    passes.after(sheet, 1, lambda: gateway.push(single))
    passes.after(sheet, loaded_after, slow.finish_loading)
    start(slow)
    order = [answer.id for answer in gateway.answers(3)]
    is_in_time = loaded_after < PASSES
    assert order == [*([single.id, sheet.id] if is_in_time else [sheet.id, single.id]), of_others.id]
    assert passes.of(single) == 1


def test_one_pause_serves_as_much_of_both_together_as_of_one(
    gateway: Gateway, other: Gateway, slow: Slow, start: Start, passes: Passes
) -> None:
    sheet = gateway.ask(1, SHEET)
    waiting = [other.ask(seed, BRIEF_WEIGHT) for seed in range(3)]
    later = [gateway.ask(seed, BRIEF_WEIGHT) for seed in range(3)]
    assert len(waiting) * BRIEF_WEIGHT < PAUSE_WEIGHT < (len(waiting) + len(later)) * BRIEF_WEIGHT

    def load_and_push() -> None:
        slow.finish_loading()
        gateway.push(*later)

    gateway.push(sheet, *waiting)
    passes.after(sheet, 1, load_and_push)
    start(slow)
    gateway.answers(1 + len(waiting) + len(later))
    second_pass = passes.order.index(sheet.id, 1)
    assert {*passes.order[1:second_pass]} == {waiting[0].id, later[0].id}
    assert passes.order[second_pass + 1] == later[1].id, "it had no room in the first pause"


def test_asks_that_wait_for_a_generator_take_no_room_from_others(
    gateway: Gateway, other: Gateway, slow: Slow, start: Start, passes: Passes
) -> None:
    sheet, single = gateway.ask(1, SHEET), gateway.ask(2)
    waiting = [other.ask(seed) for seed in range(PAUSE_WEIGHT // 2)]
    more = [other.ask(seed) for seed in range(PAUSE_WEIGHT // 2)]
    gateway.push(sheet, *waiting)
    passes.after(sheet, 1, lambda: gateway.push(*more))
    passes.after(sheet, 2, lambda: gateway.push(single))
    passes.after(sheet, PASSES, slow.finish_loading)
    start(slow)
    assert gateway.answers(1)[0].id == single.id
    gateway.answers(1 + len(waiting) + len(more))


def test_loads_for_sheets_that_wait_do_not_hinder_that_for_a_picture(
    gateway: Gateway, redis_url: str, volume: Volume, slow: Slow, start: Start, passes: Passes
) -> None:
    slow.may_load.set()
    others = []
    for number in range(1, 4):
        place = CheckpointPlace(job="job_" + str(number) * 16, file=PLACE.file)
        others.append(Gateway(redis_url, save_generator(volume, number, place), place))
    sheet, single = gateway.ask(1, SHEET), others[2].ask(2)
    waiting = [other.ask(3, SHEET) for other in others[:2]]

    def load_and_push() -> None:
        slow.finish_loading()
        gateway.push(single)

    gateway.push(gateway.ask(0))
    start(slow)
    gateway.answers(1)
    passes.after(sheet, 1, load_and_push)
    passes.after(sheet, 3, lambda: wait(slow._loading.values(), PATIENCE_SECONDS))
    gateway.push(sheet, *waiting)
    assert [answer.id for answer in gateway.answers(2)] == [single.id, sheet.id]
    assert {answer.id for answer in gateway.answers(2)} == {ask.id for ask in waiting}
