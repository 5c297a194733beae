"""Deaths of samplers and their Redis under load, and floods: every accepted request gets its own picture."""

import asyncio
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from random import Random

import httpx
import psutil
import pytest
import uvloop

from benchmarks.load.client import Address
from benchmarks.load.deployment import Laid, lay_generator
from benchmarks.load.loops import Question, Results, closed_loop, open_loop
from benchmarks.load.questions import Seen
from benchmarks.load.sheets import sheets
from benchmarks.overload import FACTOR, SLACK_SECONDS, Flood, flood
from service.guarded import WELL_AFTER_SECONDS
from service.settings import Settings
from tests.conftest import proof
from tests.system.stack import KILLED_WITHIN_SECONDS, Stack, caught, until

logger = logging.getLogger(__name__)

CONNECTIONS = 16
SAMPLERS = 2
KILLS = proof(2, 20)
FLOOD_SECONDS = proof(3, 60)
CALM_SECONDS = proof(1, 3)
STEP_SECONDS = 0.5
LIVED_SECONDS = proof(0, WELL_AFTER_SECONDS + 1)
"""Uptime before a kill; with less, the restarts would be slowed down as in a crash loop."""
DEADLINE_SECONDS = Settings().sample_timeout_seconds
SHORT_SECONDS = 1.5
"""A timeout that accepted requests come close to, as more than half as much of work may wait."""
LEAST_RATE = 20.0
"""Of sheets: more than a sampler would have to make in the worst of moments, for the flood to be one."""
SINGLE_SEEDS = 1024
"""So many that a sampler which is stopped holds few of those that others are asked for meanwhile."""
SHEET_SEEDS = 256
"""They give 3,856 different sheets, more than arrive in a flood while one of them waits."""

pytestmark = pytest.mark.timeout(proof(600, 1800))


@pytest.fixture(scope="module")
def laid(tmp_path_factory: pytest.TempPathFactory) -> Laid:
    """A generator on a volume."""
    return lay_generator(tmp_path_factory.mktemp("served") / "data", 32)


def serve(laid: Laid, samplers: int) -> Stack:
    """Start a stack that serves it with this many samplers and without a sample cache."""
    root = laid.path.parents[3]
    return Stack(root, "--samplers", str(samplers), environment={"DCGAN_SAMPLE_CACHE_BYTES": "0"}).start()


@pytest.fixture(scope="module")
def served(laid: Laid) -> Iterator[Stack]:
    stack = serve(laid, SAMPLERS)
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
def served_by_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Laid]]:
    """Flooded before the other stack starts, which would slow down the flooded gateway on two cores."""
    laid = lay_generator(tmp_path_factory.mktemp("flooded") / "data", 32)
    stack = serve(laid, 1)
    yield stack, laid
    stack.stop()


def address_of(stack: Stack) -> Address:
    return Address(int(stack.url.rpartition(":")[2]))


@pytest.fixture(scope="module")
def address(served: Stack) -> Address:
    return address_of(served)


@pytest.fixture(scope="module")
def seen(address: Address, laid: Laid) -> Seen:
    """What each seed gives alone."""
    return learn(address, laid, SINGLE_SEEDS)


def learn(address: Address, laid: Laid, seeds: int) -> Seen:
    return asyncio.run(Seen.learn(address, laid, seeds, cache_bytes=0))


@pytest.fixture
def questions(seen: Seen) -> Iterator[Question]:
    return seen.unique()


def _load_until(
    address: Address, questions: Iterator[Question], over: Callable[[], bool], act: Callable[[], None]
) -> list[Results]:
    """Run a closed loop in steps; after the first, run `act` in a thread. Ends when done and `over()`."""

    async def load() -> list[Results]:
        seen = [await closed_loop(address, questions, CONNECTIONS, STEP_SECONDS)]
        acting = asyncio.create_task(asyncio.to_thread(act))
        while not (acting.done() and over()):
            seen.append(await closed_loop(address, questions, CONNECTIONS, STEP_SECONDS))
        acting.result()
        return seen

    return asyncio.run(load())


def _stopped_with_asks(stack: Stack, victim: psutil.Process) -> bool:
    """Stop a sampler that holds asks or waits for one. If it was between the two, resume it: False.

    What it holds is asked again before its deadline or never; so there is time to try several times.
    """
    asked_again = stack.log().count("asking again")
    victim.send_signal(signal.SIGSTOP)
    try:
        return until(lambda: stack.log().count("asking again") > asked_again, "lost asks", DEADLINE_SECONDS)
    except AssertionError:
        victim.send_signal(signal.SIGCONT)
        return False


def _waiting_clients(stack: Stack) -> int:
    with stack.traffic() as traffic:
        return int(traffic.info("clients")["blocked_clients"])


def _statuses(seen: list[Results]) -> set[int]:
    return {status for results in seen for status in results.statuses}


def test_flood_is_refused_but_accepted_requests_are_answered(served_by_one: tuple[Stack, Laid]) -> None:
    stack, laid = served_by_one
    address = address_of(stack)
    questions = sheets(learn(address, laid, SHEET_SEEDS), 16)

    def attempt() -> bool | None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # halves the cost of the client
            seen = runner.run(flood(address, questions, FLOOD_SECONDS, CALM_SECONDS))
        assert (seen.flood.wrong, seen.flood.failures) == (0, {})
        return _is_withstood(seen) or None

    assert caught(attempt, "a flood during which the machine does not stall")


def _is_withstood(seen: Flood) -> bool:
    """Whether the flood was refused and harmed none of the requests that were accepted, then or later."""
    slowest = max((one.sent_seconds for one in seen.flood.good), default=math.inf)
    recovered = seen.recovered_after_seconds(proof(1, SLACK_SECONDS))
    logger.warning(
        "goodput %.0f %%, slowest %.2f s, as before after %.2f s", 100 * seen.goodput, slowest, recovered
    )
    return (
        set(seen.flood.statuses) == {200, 503}
        and set(seen.after.statuses) == {200}
        and seen.goodput >= proof(0.2, 0.9)
        and slowest <= DEADLINE_SECONDS + proof(5, 0.05)
        and recovered <= proof(DEADLINE_SECONDS, 2)
    )


def test_flood_beyond_short_deadlines_is_refused_or_answered_in_time(
    served_by_one: tuple[Stack, Laid],
) -> None:
    stack, laid = served_by_one
    with stack.second_gateway(DCGAN_SAMPLE_TIMEOUT_SECONDS=str(SHORT_SECONDS)) as (_, url):
        address = Address(int(url.rpartition(":")[2]))
        questions = sheets(learn(address, laid, SHEET_SEEDS), 16)

        async def flooded() -> Results:
            peak = await closed_loop(address, questions, CONNECTIONS, 2 * CALM_SECONDS)
            rate = FACTOR * max(peak.rate, LEAST_RATE)
            return await open_loop(address, questions, rate, FLOOD_SECONDS, Random(0))

        def attempt() -> bool | None:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                seen = runner.run(flooded())
            assert {503} < set(seen.statuses) <= {200, 503, 504}
            assert (seen.wrong, seen.blunt, seen.failures) == (0, 0, {})
            slowest = max(one.sent_seconds for one in seen.told if one.status != 503)
            logger.warning("%s, slowest %.3f s", dict(seen.statuses), slowest)
            return slowest <= SHORT_SECONDS + proof(60, 0.05) or None

        assert caught(attempt, "a flood during which the machine does not stall")


def test_sampler_killed_during_a_batch_loses_no_request(
    served: Stack, address: Address, questions: Iterator[Question]
) -> None:
    for _ in range(KILLS):
        until(lambda: _waiting_clients(served) > SAMPLERS, "samplers that wait for work, and the gateway")
        victim = served.find("-m", "worker", "--role", "sample")[0]

        def stop_and_kill(victim: psutil.Process = victim) -> None:
            until(lambda: _stopped_with_asks(served, victim), "a sampler that was stopped with asks in hand")
            victim.send_signal(signal.SIGKILL)
            victim.wait(KILLED_WITHIN_SECONDS)

        seen = _load_until(address, questions, lambda: True, stop_and_kill)
        assert _statuses(seen) == {200}
        assert not sum(results.wrong for results in seen)


def test_redis_killed_under_load_causes_at_most_refusals(
    served: Stack, address: Address, questions: Iterator[Question]
) -> None:
    for _ in range(KILLS):
        killed_at = math.inf

        def kill() -> None:
            nonlocal killed_at
            (victim,) = (
                one
                for one in served.launcher.children(recursive=True)
                if one.name() == "redis-server" and one.cwd() == str(served.root / "run" / "redis-samples")
            )
            until(lambda: time.time() - victim.create_time() > LIVED_SECONDS, "a server that has lived")
            killed_at = time.perf_counter()
            victim.send_signal(signal.SIGKILL)
            victim.wait(KILLED_WITHIN_SECONDS)

        seen = _load_until(address, questions, lambda: httpx.get(f"{served.url}/readyz").is_success, kill)
        ill = [one.since + one.seconds for results in seen for one in results.told if one.status != 200]
        healed_after = max(ill, default=killed_at) - killed_at
        logger.info("healed after %.2f s", healed_after)
        assert healed_after <= proof(DEADLINE_SECONDS, 2)
        seen.append(asyncio.run(closed_loop(address, questions, CONNECTIONS, STEP_SECONDS)))
        assert _statuses(seen) <= {200, 503}
        assert _statuses(seen[-1:]) == {200}
        assert not sum(results.wrong for results in seen)
