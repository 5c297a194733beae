"""Two ways to load a server: closed and open loops.

A closed loop sends the next request after the last response, which finds the server's maximum rate. An open
loop sends requests at times independent of the server, as real clients do.
"""

import asyncio
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from benchmarks.load.client import Address, Connection, Reply

MOST_CONNECTIONS = 2048


@dataclass(frozen=True)
class Question:
    """A request as bytes, and a check of its response."""

    request: bytes
    is_right: Callable[[Reply], bool]


@dataclass(frozen=True)
class Told:
    """One response: when its request was due, and the seconds since then and since it was really sent."""

    since: float
    seconds: float
    sent_seconds: float
    status: int


@dataclass
class Results:
    """The results of a loop. `wrong` counts responses with status 200 or 304 whose content is not right.

    `blunt` counts refusals with 503 that do not say in how many seconds to come back.
    """

    told: list[Told] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    blunt: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """Requests without a response, by the error: the connection was refused or broke."""
    seconds: float = 0.0
    client_seconds: float = 0.0
    """CPU time of the client."""
    stages_ms: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def take(self, question: Question, since: float, sent: float, reply: Reply) -> None:
        now = time.perf_counter()
        self.told.append(Told(since, now - since, now - sent, reply.status))
        self.statuses[reply.status] += 1
        if reply.status == 503:
            self.blunt += not (reply.header("retry-after") or "").isdigit()
        if reply.status in (200, 304):
            self.wrong += not question.is_right(reply)
            for name, duration_ms in reply.stages().items():
                self.stages_ms[name].append(duration_ms)

    @property
    def failed(self) -> int:
        return self.failures.total()

    @property
    def good(self) -> list[Told]:
        return [one for one in self.told if one.status in (200, 304)]

    @property
    def rate(self) -> float:
        """Good responses (status 200 or 304) per second."""
        return len(self.good) / self.seconds

    def percentile_ms(self, percent: int) -> float:
        """A latency percentile of the good responses."""
        return percentile_ms([one.seconds for one in self.good], percent)

    @property
    def client_us(self) -> float:
        """The client's CPU time per response."""
        return 1e6 * self.client_seconds / max(1, len(self.told))


async def closed_loop(
    address: Address, questions: Iterator[Question], connections: int, seconds: float
) -> Results:
    """Send requests over several connections, each sending the next one as soon as it gets a response."""
    opened = [await Connection.open(address) for _ in range(connections)]
    results = Results()
    started, cpu = time.perf_counter(), time.process_time()

    async def ask_on(connection: Connection) -> None:
        while (since := time.perf_counter()) < started + seconds:
            question = next(questions)
            results.take(question, since, since, await connection.ask(question.request))

    await asyncio.gather(*(ask_on(connection) for connection in opened))
    results.seconds = time.perf_counter() - started
    results.client_seconds = time.process_time() - cpu
    for connection in opened:
        connection.close()
    return results


async def open_loop(
    address: Address, questions: Iterator[Question], rate: float, seconds: float, chance: Random
) -> Results:
    """Send requests as Poisson arrivals; latency counts from the due time, even if one is sent later."""
    idle: list[Connection] = []
    places = asyncio.Semaphore(MOST_CONNECTIONS)
    results = Results()
    running: set[asyncio.Task[None]] = set()
    started, cpu = time.perf_counter(), time.process_time()

    async def ask(question: Question, since: float) -> None:
        async with places:
            while idle and not idle[-1].is_open:  # closed by the server after some idle seconds
                idle.pop()
            connection = idle.pop() if idle else await Connection.open(address)
            sent = time.perf_counter()
            results.take(question, since, sent, await connection.ask(question.request))
            idle.append(connection)

    def end(task: asyncio.Task[None]) -> None:
        running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            results.failures[repr(error)] += 1

    due = started
    while (due := due + chance.expovariate(rate)) < started + seconds:
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        elif len(running) % 64 == 0:
            await asyncio.sleep(0)  # already late, but let responses be read
        task = asyncio.create_task(ask(next(questions), due))
        running.add(task)
        task.add_done_callback(end)
    await asyncio.gather(*running, return_exceptions=True)
    results.seconds = time.perf_counter() - started
    results.client_seconds = time.process_time() - cpu
    for connection in idle:
        connection.close()
    return results


def percentile_ms(seconds: list[float], percent: int) -> float:
    latencies = sorted(seconds) or [float("nan")]
    return 1000 * latencies[min(len(latencies) - 1, len(latencies) * percent // 100)]


def median(numbers: list[float]) -> float:
    return statistics.median(numbers) if numbers else float("nan")
