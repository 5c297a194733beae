"""While the line for samplers is full, whatever needs no sampler is still answered."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from contract.job import CheckpointFact
from contract.keys import SAMPLES_WAITING
from tests.service.playing import Sampler, Worker
from tests.service.problems import refused
from tests.service.waiting import until

FULL = 4


@pytest.fixture
def known(
    client: httpx.Client, sampler: Sampler, generators: list[CheckpointFact]
) -> dict[str, httpx.Response]:
    """Pictures that were rendered, by reference; `live` points to the first generator."""
    client.put("/models/live", json={"digest": generators[0].digest}).raise_for_status()
    references = ["live", "latest", client.get("/models/latest").json()["job"]]
    return {one: client.get(f"/samples?seed=7&model={one}").raise_for_status() for one in references}


@pytest.fixture
def full(client: httpx.Client, sampler: Sampler, worker: Worker, known: object) -> Iterator[None]:
    sampler.hold()
    with ThreadPoolExecutor(FULL) as threads:
        waiting = [threads.submit(client.get, f"/samples?seed={seed}") for seed in range(100, 100 + FULL)]
        until(lambda: worker.redis.llen(SAMPLES_WAITING) == FULL)
        yield
        sampler.held.clear()
        assert [one.result().status_code for one in waiting] == [200] * FULL


@pytest.mark.usefixtures("full")
def test_cached_pictures_of_aliases_and_jobs_are_served(
    client: httpx.Client, known: dict[str, httpx.Response]
) -> None:
    for model, picture in known.items():
        again = client.get(f"/samples?seed=7&model={model}")
        assert (again.status_code, again.content) == (200, picture.content)
        refused(client.get(f"/samples?seed=8&model={model}"), 503, "sampler_busy")


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("seed", [7, 8])
def test_heads_and_revalidations_are_answered(
    client: httpx.Client, known: dict[str, httpx.Response], seed: int
) -> None:
    for model in known:
        address = f"/samples?seed={seed}&model={model}"
        head = client.head(address)
        assert head.status_code == 200
        assert client.get(address, headers={"If-None-Match": head.headers["etag"]}).status_code == 304
    other = client.get("/samples?seed=9&model=live", headers={"If-None-Match": head.headers["etag"]})
    refused(other, 503, "sampler_busy")


@pytest.mark.usefixtures("full")
def test_picture_without_a_seed_is_refused(client: httpx.Client, known: object) -> None:
    refused(client.get("/samples?model=live"), 503, "sampler_busy")


@pytest.mark.usefixtures("full")
def test_alias_that_was_moved_is_not_served_from_what_it_meant_before(
    client: httpx.Client, known: dict[str, httpx.Response], generators: list[CheckpointFact]
) -> None:
    client.put("/models/live", json={"digest": generators[1].digest}).raise_for_status()
    address = "/samples?seed=7&model=live"
    refused(client.get(address), 503, "sampler_busy")
    refused(
        client.get(address, headers={"If-None-Match": known["live"].headers["etag"]}), 503, "sampler_busy"
    )
    assert client.head(address).headers["x-model-digest"] == generators[1].digest
