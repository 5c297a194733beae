"""Aliases moved under load: by PUTs, and by a job that they follow. Every answer is what it says it is."""

import asyncio
import itertools
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx
import psutil
import pytest
import uvloop

from benchmarks.load.client import Address, Reply
from benchmarks.load.deployment import lay_generators
from benchmarks.load.loops import Question, Results, closed_loop, open_loop
from tests.conftest import proof
from tests.system.stack import IMAGES, Stack, until

logger = logging.getLogger(__name__)

SEEDS = 32
FEW_SEEDS = 4
GENERATORS = 6
HELD = 2.5
"""So many the sampler keeps in float32, and twice as many in bfloat16: never all."""
CONNECTIONS = 8
"""To each gateway, while the peak is measured."""
SHARE = proof(0.4, 0.8)
"""Of the peak. In `make test` other tests may take the time that remains."""
PROMOTIONS = proof(2 * GENERATORS, 200)
PAUSE_SECONDS = 0.1
STEP_SECONDS = 2.0
GROWTH_BYTES = proof(64, 16) * 2**20

Table = Mapping[str, Sequence[bytes]]
"""The right pictures: by the digest of a generator and the seed."""


@dataclass
class Alias:
    """What the alias means, as known to the only client that moves it."""

    name: str
    meanings: list[str] = field(default_factory=list)
    """The digests in order; those since the last confirmed one may or may not be served yet."""
    confirmed: int = 0

    def question(self, address: Address, table: Table, seed: int) -> Question:
        """A picture of what the alias means, from now on."""
        least = self.confirmed

        def is_right(reply: Reply) -> bool:
            digest = reply.header("x-model-digest") or ""
            return digest in self.meanings[least:] and reply.body == table[digest][seed]

        return Question(address.get(f"/samples?seed={seed}&model={self.name}"), is_right)

    def move(self, url: str, digest: str) -> None:
        address = f"{url}/models/{self.name}"
        etag = httpx.get(address, timeout=60).headers.get("etag")
        conditions = {"If-Match": etag} if etag else {"If-None-Match": "*"}
        self.meanings.append(digest)
        httpx.put(address, json={"digest": digest}, headers=conditions, timeout=60).raise_for_status()
        self.confirmed = len(self.meanings) - 1


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], int]:
    """A volume with several generators, and the size of each."""
    root = tmp_path_factory.mktemp("promoted") / "data"
    laid = lay_generators(root, 32, range(GENERATORS))
    return root, [one.digest for one in laid], laid[0].path.stat().st_size


@pytest.fixture
def crowded(digests: tuple[Path, list[str], int]) -> Iterator[Stack]:
    """A stack without a cache, whose sampler cannot keep all generators."""
    root, _, size = digests
    limits = {"DCGAN_SAMPLE_CACHE_BYTES": "0", "DCGAN_GENERATORS_BYTES": str(round(HELD * size))}
    stack = Stack(root, environment=limits).start()
    yield stack
    stack.stop()


@pytest.fixture
def second_gateway(crowded: Stack) -> Iterator[tuple[psutil.Process, str]]:
    with crowded.second_gateway() as gateway:
        yield gateway


def pictures(stack: Stack, digests: Sequence[str], seeds: int) -> Table:
    """What each generator gives for each seed, requested one at a time by digest."""

    def picture(digest: str, seed: int) -> bytes:
        answer = stack.http.get("/samples", params={"model": digest, "seed": seed})
        return answer.raise_for_status().content

    return {digest: [picture(digest, seed) for seed in range(seeds)] for digest in digests}


@pytest.mark.timeout(proof(600, 1800))
def test_promotions_under_load_cause_no_errors_and_mix_no_generators(
    crowded: Stack, digests: tuple[Path, list[str], int], second_gateway: tuple[psutil.Process, str]
) -> None:
    _, generators, _ = digests
    other, other_url = second_gateway
    urls = [crowded.url, other_url]
    addresses = [Address(int(url.rpartition(":")[2])) for url in urls]
    watched = [
        other,
        crowded.process("-m", "service --"),
        crowded.process("-m", "worker", "--role", "sample"),
    ]
    table = pictures(crowded, generators, SEEDS)
    alias = Alias("promoted")
    alias.move(urls[0], generators[-1])
    memory: list[list[int]] = []

    def promote() -> None:
        moves = zip(itertools.cycle(generators), itertools.cycle(urls), strict=False)
        for number, (digest, url) in enumerate(itertools.islice(moves, PROMOTIONS)):
            if number % GENERATORS == 0:
                memory.append([process.memory_info().rss for process in watched])
            alias.move(url, digest)
            time.sleep(PAUSE_SECONDS)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        peak, seen = runner.run(load(addresses, alias, table, promote))
    memory.append([process.memory_info().rss for process in watched])
    growth = [after - before for before, after in zip(memory[1], memory[-1], strict=True)]
    answers = sum(len(results.told) for results in seen)
    loads = crowded.log().count("loaded generator")
    logger.info(
        "%d promotions, %d answers at %.0f %% of %.0f/s, %d loads, growth in bytes %s",
        *(PROMOTIONS, answers, 100 * SHARE, peak, loads, growth),
    )
    assert not sum(results.wrong + results.failed for results in seen)
    statuses = sum((results.statuses for results in seen), Counter[int]())
    assert set(statuses) <= {200, 503}
    assert statuses[503] <= proof(1.0, 0.0) * answers
    assert loads > 2 * GENERATORS
    assert max(growth) < GROWTH_BYTES, growth


async def load(
    addresses: Sequence[Address], alias: Alias, table: Table, promote: Callable[[], None]
) -> tuple[float, list[Results]]:
    """The peak rate of all gateways together; then the results of a share of it while the alias is moved."""

    def asked(number: int) -> Iterator[Question]:
        random = Random(number)
        while True:
            yield alias.question(addresses[number], table, random.randrange(SEEDS))

    def peak() -> Awaitable[list[Results]]:
        loops = (closed_loop(one, asked(n), CONNECTIONS, STEP_SECONDS) for n, one in enumerate(addresses))
        return asyncio.gather(*loops)

    await peak()
    rate = sum(results.rate for results in await peak())
    each = SHARE * rate / len(addresses)
    chances = [Random(number) for number, _ in enumerate(addresses)]
    seen: list[Results] = []
    moving = asyncio.create_task(asyncio.to_thread(promote))
    while not moving.done():
        loops = (open_loop(one, asked(n), each, STEP_SECONDS, chances[n]) for n, one in enumerate(addresses))
        seen += await asyncio.gather(*loops)
    moving.result()
    return rate, seen


def test_alias_that_follows_a_job_serves_every_new_best_without_an_error(stack: Stack) -> None:
    images = 10 * IMAGES
    once = {"every_images": images}  # so that each checkpoint is better than the last
    job = stack.train(images, name="followed", checkpoint_every_images=IMAGES, evaluation=once)
    until(lambda: stack.job(job)["checkpoint"], "a first generator")
    child = stack.training_child()
    child.suspend()
    stack.http.put("/models/following", json={"job": job, "follow": True}).raise_for_status()
    child.resume()
    served: list[tuple[str, int, bytes]] = []
    for seed in itertools.cycle(range(FEW_SEEDS)):
        is_over = stack.job(job)["state"] == "succeeded"
        answer = stack.http.get("/samples", params={"model": "following", "seed": seed})
        served.append((answer.raise_for_status().headers["x-model-digest"], seed, answer.content))
        if is_over:
            break
    followed = [digest for digest, _ in itertools.groupby(served, key=lambda one: one[0])]
    assert len(followed) == len(set(followed)) > 1  # never back to one before
    assert followed[-1] == stack.get("/models/following")["digest"] == stack.job(job)["checkpoint"]["digest"]
    table = pictures(stack, followed, FEW_SEEDS)
    assert all(content == table[digest][seed] for digest, seed, content in served)
