"""An alias moved under load: two gateway processes, a real sampler, and a table of the right pictures."""

import itertools
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random

import httpx
import psutil
import pytest

from service.ports import free_port
from tests.conftest import proof
from tests.system.stack import Stack, until

logger = logging.getLogger(__name__)

SEEDS = 32
CLIENTS = 4
PROMOTIONS = proof(12, 200)
REQUESTS_BETWEEN = 20
GROWTH_BYTES = proof(24, 4) * 2**20

Table = Mapping[str, tuple[bytes, ...]]


@pytest.fixture(scope="module")
def table(stack: Stack) -> Table:
    """Every picture of every generator, requested one at a time by digest."""
    job = stack.train(name="promoted", checkpoint_every_images=160)
    stack.await_state(job, "succeeded")
    digests = [one["digest"] for one in stack.job(job)["checkpoints"]]
    assert len(digests) == 4

    def picture(digest: str, seed: int) -> bytes:
        answer = stack.http.get("/samples", params={"model": digest, "seed": seed})
        return answer.raise_for_status().content

    return {digest: tuple(picture(digest, seed) for seed in range(SEEDS)) for digest in digests}


@pytest.fixture(scope="module")
def gateways(stack: Stack) -> Iterator[list[tuple[psutil.Process, str]]]:
    """Two processes without a cache, so that every answer comes from the sampler."""
    environment = stack.process("-m", "service --").environ() | {"DCGAN_SAMPLE_CACHE_BYTES": "0"}
    started: list[tuple[psutil.Process, str]] = []
    for port in (free_port(), free_port()):
        command = [sys.executable, "-P", "-m", "service", "--port", str(port)]
        begun = psutil.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        started.append((begun, f"http://127.0.0.1:{port}"))
    for _, url in started:
        until(lambda url=url: httpx.get(f"{url}/livez").is_success, "a gateway")  # type: ignore[misc]
    yield started
    for process, _ in started:
        process.terminate()
        process.wait(60)


@dataclass
class Load:
    """Clients that request samples of the alias as fast as they are answered, and check every response."""

    urls: list[str]
    table: Table
    answered: int = 0
    faults: list[str] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Load":
        self._threads = [
            threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def await_more(self, count: int) -> None:
        reached = self.answered + count
        until(lambda: self.answered >= reached or self.faults, "answers under load")

    def _ask(self, number: int) -> None:
        random = Random(number)
        with httpx.Client(base_url=self.urls[number % len(self.urls)], timeout=30) as client:
            while not self._ended.is_set():
                seed = random.randrange(SEEDS)
                try:
                    answer = client.get("/samples", params={"model": "promoted", "seed": seed})
                except httpx.HTTPError as error:
                    self.faults.append(repr(error))
                    continue
                self.answered += 1
                self.faults += faults(answer, self.table, seed)


def faults(answer: httpx.Response, table: Table, seed: int) -> list[str]:
    """What is wrong with a response: it failed, or its bytes are not those of the digest that it names."""
    if answer.status_code != 200:
        return [f"{answer.status_code} {answer.text}"]
    if answer.content != table[answer.headers["x-model-digest"]][seed]:
        return [f"seed {seed}: not the bytes of {answer.headers['x-model-digest']}"]
    return []


@pytest.mark.timeout(proof(600, 1800))
def test_promotions_under_load_cause_no_errors_and_mix_no_generators(
    stack: Stack, table: Table, gateways: list[tuple[psutil.Process, str]]
) -> None:
    urls = [url for _, url in gateways]
    watched = [process for process, _ in gateways] + [stack.process("-m", "worker", "--role", "sample")]
    digests = list(table)
    stale = []
    with httpx.Client(timeout=30) as client:
        client.put(f"{urls[0]}/models/promoted", json={"digest": digests[-1]}).raise_for_status()
        with Load(urls, table) as load:
            for number, (digest, url) in enumerate(
                itertools.islice(
                    zip(itertools.cycle(digests), itertools.cycle(urls), strict=False), PROMOTIONS
                )
            ):
                load.await_more(REQUESTS_BETWEEN)
                if number == len(digests):  # all generators are loaded, all connections open
                    before = [process.memory_info().rss for process in watched]
                etag = client.get(f"{url}/models/promoted").headers["etag"]
                moved = client.put(
                    f"{url}/models/promoted", json={"digest": digest}, headers={"If-Match": etag}
                )
                assert moved.status_code == 200, moved.text
                for gateway in urls:
                    served = client.get(f"{gateway}/samples", params={"model": "promoted", "seed": 0})
                    load.faults += faults(served, table, 0)
                    stale += [number] if served.headers["x-model-digest"] != digest else []
            load.await_more(REQUESTS_BETWEEN)
    growth = [process.memory_info().rss - rss for process, rss in zip(watched, before, strict=True)]
    logger.info("%d promotions, %d answers, growth in bytes %s", PROMOTIONS, load.answered, growth)
    assert not load.faults
    assert not stale
    assert load.answered > PROMOTIONS * REQUESTS_BETWEEN
    assert max(growth) < GROWTH_BYTES, growth
