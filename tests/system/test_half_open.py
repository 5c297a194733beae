"""Connections whose bytes vanish without a reset or an end: workers detect them and reconnect."""

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
import redis

from tests.conftest import proof
from tests.system.black_hole import BlackHole
from tests.system.patient import FarWorker
from tests.system.stack import BRIEF_LEASE_SECONDS, Stack, until

HEALED_WITHIN_SECONDS = proof(60, 20)
LOST_FOR_SECONDS = 0.5
"""Long enough to break every open connection; later ones work."""


Far = tuple[Stack, list[BlackHole]]


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    """A stack whose only trainer and sampler are behind black holes."""
    root = tmp_path_factory.mktemp("far") / "data"
    stack = Stack(root, "--trainers", "0", "--samplers", "0", lease_seconds=BRIEF_LEASE_SECONDS)
    stack.launch()
    with ExitStack() as undo:
        undo.callback(stack.stop)
        until(lambda: stack.http.get("/livez").is_success, "a gateway, which starts after Redis")
        holes, urls = zip(*(_before(server) for server in (stack.records(), stack.traffic())), strict=True)
        for hole in holes:
            undo.callback(hole.close)
        told = dict(zip(("DCGAN_REDIS_URL", "DCGAN_SAMPLING_REDIS_URL"), urls, strict=True))
        for role in ("train", "sample"):
            undo.callback(FarWorker(role, stack.environment() | told, stack.root).end)
        stack.await_ready_line()
        yield stack, list(holes)


def _before(server: redis.Redis) -> tuple[BlackHole, str]:
    settings = server.connection_pool.connection_kwargs
    hole = BlackHole(("127.0.0.1", settings["port"]))
    return hole, f"redis://:{settings['password']}@127.0.0.1:{hole.port}/0"


def test_trainer_and_sampler_recover_from_half_open_connections(far: Far) -> None:
    stack, holes = far
    first = stack.train()
    stack.await_state(first, "succeeded")
    picture = until(lambda: _sample(stack, first, 7), "a picture")
    for hole in holes:
        hole.swallow(LOST_FOR_SECONDS)
    second = stack.train()
    stack.await_state(second, "running", "succeeded", seconds=HEALED_WITHIN_SECONDS)
    another = until(lambda: _sample(stack, first, 8), "a picture", HEALED_WITHIN_SECONDS)
    assert another != picture
    stack.await_state(second, "succeeded")
    assert stack.weights(second) == stack.weights(first)
    assert all(hole.swallowed_bytes for hole in holes)


def test_trainer_cut_off_from_redis_loses_no_job(far: Far) -> None:
    stack, (records, _) = far
    undisturbed = stack.train(images=6_400)
    stack.await_state(undisturbed, "succeeded")
    job = stack.train(images=6_400)
    until(lambda: stack.snapshots(job), "a snapshot")
    before = records.swallowed_bytes
    records.swallow(3)
    stack.await_state(job, "succeeded")
    assert stack.weights(job) == stack.weights(undisturbed)
    assert records.swallowed_bytes > before


def _sample(stack: Stack, job: str, seed: int) -> bytes | None:
    response = httpx.get(f"{stack.url}/samples?seed={seed}&model={job}", timeout=30)
    return response.content if response.status_code == 200 else None
