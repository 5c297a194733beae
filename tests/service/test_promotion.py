"""Moving an alias is visible to all clients at once and reverted by one call; a race has one winner."""

import fcntl
import itertools
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from contract.alias import KEPT_MEANINGS
from contract.job import CheckpointFact, State
from contract.keys import ALIASES, EPOCH, Role
from contract.owning import leave
from contract.volume import Volume
from service.settings import Settings
from tests.service.deployment import Deployment
from tests.service.playing import Sampler, Worker
from tests.service.problems import refused
from tests.service.serving import client_of, serve
from tests.service.waiting import until

Generators = list[CheckpointFact]


@pytest.fixture
def other_gateway(
    client: httpx.Client, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> Iterator[httpx.Client]:
    """A second gateway on the same volume and records. Each waits for the other."""
    monkeypatch.setattr("service.alone._PATIENCE_SECONDS", 60)
    settings = Settings(data_root=worker.volume.root, redis_url=worker.url)
    with client_of(settings) as other:
        yield other


def point(client: httpx.Client, to: CheckpointFact, alias: str = "live", **headers: str) -> httpx.Response:
    return client.put(f"/models/{alias}", json={"digest": to.digest}, headers=headers)


def meant(client: httpx.Client, alias: str = "live") -> str:
    return str(client.get(f"/models/{alias}").raise_for_status().json()["digest"])


def history(client: httpx.Client, alias: str = "live") -> list[Any]:
    return list(client.get(f"/models/{alias}/history").raise_for_status().json()["items"])


def test_alias_is_moved_only_from_the_state_that_the_client_saw(
    client: httpx.Client, generators: Generators
) -> None:
    made = point(client, generators[0], **{"If-None-Match": "*"})
    assert (made.status_code, made.headers["location"]) == (201, "/models/live")
    assert made.headers["etag"] == made.json()["etag"] == client.get("/models/live").headers["etag"]
    moved = point(client, generators[1], **{"If-Match": made.headers["etag"]})
    assert (moved.status_code, moved.json()["revision"]) == (200, 2)
    lost = refused(
        point(client, generators[2], **{"If-Match": made.headers["etag"]}), 412, "precondition_failed"
    )
    assert lost["current"] == client.get("/models/live").json()
    assert meant(client) == generators[1].digest
    again = refused(point(client, generators[2], **{"If-None-Match": "*"}), 412, "precondition_failed")
    assert again["current"]["etag"] == moved.headers["etag"]


@pytest.mark.parametrize("tag", ["*", '"1-0"', "1", ""])
def test_missing_alias_matches_no_etag(
    client: httpx.Client, generators: Generators, volume: Volume, tag: str
) -> None:
    assert "current" not in refused(
        point(client, generators[0], "never", **{"If-Match": tag}), 412, "precondition_failed"
    )
    assert not volume.alias("never").exists()


def test_weak_etag_never_matches_but_one_of_several_does(
    client: httpx.Client, generators: Generators
) -> None:
    etag = point(client, generators[0]).headers["etag"]
    refused(point(client, generators[1], **{"If-Match": f"W/{etag}"}), 412, "precondition_failed")
    assert point(client, generators[1], **{"If-Match": f'"x", {etag}'}).status_code == 200


def test_recreated_alias_has_a_new_etag(client: httpx.Client, generators: Generators) -> None:
    etag = point(client, generators[0]).headers["etag"]
    refused(client.delete("/models/live", headers={"If-Match": '"1-0"'}), 412, "precondition_failed")
    assert client.delete("/models/live", headers={"If-Match": etag}).status_code == 204
    assert point(client, generators[0]).json()["revision"] == 1
    refused(point(client, generators[1], **{"If-Match": etag}), 412, "precondition_failed")


def test_alias_that_the_client_has_is_not_sent_again(client: httpx.Client, generators: Generators) -> None:
    etag = point(client, generators[0]).headers["etag"]
    other = refused(client.get("/models/live", headers={"If-Match": '"0"'}), 412, "precondition_failed")
    assert other["current"]["etag"] == etag
    known = client.get("/models/live", headers={"If-Match": etag, "If-None-Match": etag})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", etag)
    point(client, generators[1])
    assert client.get("/models/live", headers={"If-None-Match": etag}).status_code == 200


def test_exactly_one_of_many_racing_conditional_changes_wins(
    client: httpx.Client, other_gateway: httpx.Client, generators: Generators, volume: Volume
) -> None:
    etag = point(client, generators[0]).headers["etag"]

    def race(number: int) -> httpx.Response:
        gateway = (client, other_gateway)[number % 2]
        return point(gateway, generators[1 + number // 2 % 2], **{"If-Match": etag})

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(race, range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 15
    (won,) = (answer.json() for answer in answers if answer.status_code == 200)
    assert won == client.get("/models/live").json() == other_gateway.get("/models/live").json()
    assert json.loads(volume.alias("live").read_text())["digest"] == won["digest"]
    assert len(history(client)) == 2


def test_racing_unconditional_changes_are_all_applied(
    client: httpx.Client, other_gateway: httpx.Client, generators: Generators, volume: Volume
) -> None:
    point(client, generators[0])

    def race(number: int) -> int:
        return point((client, other_gateway)[number % 2], generators[number % 3]).status_code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(race, range(12))) == {200}
    told = history(other_gateway)
    assert [one["revision"] for one in told] == list(range(len(told), 0, -1))
    kept = json.loads(volume.alias("live").read_text())
    assert [kept["digest"], *(one["digest"] for one in kept["before"])] == [one["digest"] for one in told]
    assert all(one["digest"] != other["digest"] for one, other in itertools.pairwise(told))


def test_only_one_gateway_at_a_time_changes_an_alias(
    client: httpx.Client, generators: Generators, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    point(client, generators[0])
    monkeypatch.setattr("service.alone._PATIENCE_SECONDS", 0.1)
    other = os.open(volume.aliases, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    refused(point(client, generators[1]), 503, "store_unavailable")
    os.close(other)
    assert point(client, generators[1]).json()["revision"] == 2


def test_old_generator_is_never_served_after_the_move_was_confirmed(
    client: httpx.Client, other_gateway: httpx.Client, sampler: Sampler, generators: Generators
) -> None:
    for number in range(12):
        to = generators[number % 3]
        assert point((client, other_gateway)[number % 2], to).is_success
        for gateway in (client, other_gateway):
            served = gateway.get(f"/samples?model=live&seed={number}")
            assert served.headers["x-model-digest"] == to.digest
            assert served.text.startswith(to.digest)


def test_rollback_reverts_the_last_change(client: httpx.Client, generators: Generators) -> None:
    refused(client.post("/models/live/rollback"), 404, "model_not_found")
    first = point(client, generators[0])
    refused(client.post("/models/live/rollback"), 409, "nothing_before")
    point(client, generators[1])
    refused(
        client.post("/models/live/rollback", headers={"If-Match": first.headers["etag"]}),
        412,
        "precondition_failed",
    )
    back = client.post("/models/live/rollback")
    assert back.json()["digest"] == meant(client) == generators[0].digest
    assert back.headers["etag"] not in (first.headers["etag"], "")
    assert [(one["digest"], one["by"], one["revision"]) for one in history(client)] == [
        (generators[0].digest, "rollback", 3),
        (generators[1].digest, "put", 2),
        (generators[0].digest, "put", 1),
    ]
    assert client.post("/models/live/rollback").json()["digest"] == generators[1].digest


def test_rollback_to_a_deleted_generator_is_refused(
    client: httpx.Client, generators: Generators, worker: Worker, new_job: Callable[[], str]
) -> None:
    point(client, generators[0])
    job = client.get("/models/live").json()["job"]
    newer = new_job()
    worker.checkpoint(worker.claim())
    client.put("/models/live", json={"job": newer}).raise_for_status()
    assert client.delete(f"/jobs/{job}").status_code == 204
    problem = refused(client.post("/models/live/rollback"), 409, "nothing_before")
    assert job in problem["detail"]
    assert client.get("/models/live").json()["job"] == newer


def test_repeating_a_change_changes_nothing(client: httpx.Client, generators: Generators) -> None:
    point(client, generators[0])
    first = point(client, generators[1])
    assert point(client, generators[1]).json() == first.json()
    assert client.post("/models/live/rollback").json()["digest"] == generators[0].digest


def test_the_history_is_bounded(client: httpx.Client, generators: Generators, volume: Volume) -> None:
    for number in range(3):
        point(client, generators[number])
    kept = json.loads(volume.alias("live").read_text())
    kept["before"] = [{**kept["before"][0], "revision": 2}] * KEPT_MEANINGS
    kept["revision"] = 900
    volume.alias("live").write_text(json.dumps(kept))
    point(client, generators[0])
    assert len(history(client)) == KEPT_MEANINGS
    assert history(client)[0]["revision"] == 901  # the volume was ahead of Redis, and prevailed


def test_latest_has_no_history_of_its_own(client: httpx.Client, finished: CheckpointFact) -> None:
    refused(client.post("/models/latest/rollback"), 409, "alias_read_only")
    (only,) = history(client, "latest")
    assert (only["digest"], only["by"]) == (finished.digest, "automatic")


def test_alias_follows_its_job_to_its_best_checkpoint(
    client: httpx.Client, sampler: Sampler, worker: Worker, new_job: Callable[[], str], generators: Generators
) -> None:
    job = new_job()
    lease = worker.claim()
    early = worker.checkpoint(lease, 10)
    followed = client.put("/models/live", json={"job": job, "follow": True})
    assert (followed.json()["follow"], followed.json()["digest"]) == (True, early.digest)
    better = worker.checkpoint(lease, 20)
    assert client.get("/samples?seed=1&model=live").headers["x-model-digest"] == better.digest
    refused(
        point(client, generators[0], **{"If-Match": followed.headers["etag"]}), 412, "precondition_failed"
    )
    assert client.get("/samples?seed=1").headers["x-model-digest"] == generators[2].digest  # latest: finished
    final = worker.checkpoint(lease, 30)
    worker.run(leave(lease, State.SUCCEEDED))
    assert meant(client) == final.digest
    assert job in refused(client.delete(f"/jobs/{job}"), 409, "job_in_use")["detail"]
    point(client, generators[0])
    assert client.post("/models/live/rollback").json() | {"revision": 0, "etag": "", "updated_at": ""} == (
        followed.json()
        | {"digest": final.digest, "revision": 0, "etag": "", "updated_at": ""}
        | {"links": client.get("/models/live").json()["links"]}
    )
    (_, _, oldest) = history(client)
    assert (oldest["follow"], oldest["digest"]) == (True, early.digest)


@pytest.mark.parametrize("body", [{"digest": "sha256:" + "0" * 64, "follow": True}, {"follow": True}])
def test_only_a_job_can_be_followed(client: httpx.Client, body: object) -> None:
    refused(client.put("/models/live", json=body), 422, "invalid_request")


def test_alias_and_its_history_survive_the_loss_of_redis(
    elsewhere: Callable[..., Deployment],
) -> None:
    there = elsewhere()
    client, worker = there.client, there.worker
    worker.goodbye(Role.SAMPLE)  # whose answers moves would wait for
    for job in [there.end(State.SUCCEEDED) for _ in range(3)]:
        client.put("/models/live", json={"job": job}).raise_for_status()
    before, told = client.get("/models/live").json(), history(client)
    worker.redis.flushdb()
    assert worker.rebuilder.rebuild_if_lost()
    assert history(client) == told
    assert client.get("/models/live").json() == before


def test_alias_file_from_a_version_without_revisions_is_understood(
    client: httpx.Client, generators: Generators, worker: Worker
) -> None:
    point(client, generators[0])
    job = client.get("/models/live").json()["job"]
    old = {"job": job, "digest": generators[1].digest, "file": generators[1].file, "updated_ms": 1}
    worker.redis.hset(ALIASES, "live", json.dumps(old))
    worker.redis.hdel("dcgan:aliases:histories", "live")
    worker.volume.alias("live").write_text(json.dumps(old))
    assert client.get("/models/live").json()["revision"] == 1
    etag = client.get("/models/live").headers["etag"]
    assert point(client, generators[2], **{"If-Match": etag}).json()["revision"] == 2
    assert client.post("/models/live/rollback").json()["digest"] == generators[1].digest


@pytest.mark.parametrize("kept", ["ahead", "behind", "missing", "damaged"])
def test_volume_and_redis_agree_after_a_gateway_died_between_writing_to_each(
    client: httpx.Client, other_gateway: httpx.Client, generators: Generators, worker: Worker, kept: str
) -> None:
    point(client, generators[0])
    path, first = worker.volume.alias("live"), worker.volume.alias("live").read_bytes()
    point(client, generators[1])
    second = path.read_bytes()
    if kept == "ahead":  # Redis did not receive the second
        now = json.loads(first)
        before = now.pop("before")
        worker.redis.hset(ALIASES, "live", json.dumps(now))
        worker.redis.hset("dcgan:aliases:histories", "live", json.dumps(before))
    elif kept == "missing":
        path.unlink()
    else:
        path.write_bytes(first if kept == "behind" else b"{")
    with serve(Settings(data_root=worker.volume.root, redis_url=worker.url)):
        until(lambda: path.exists() and path.read_bytes() == second and meant(client) == generators[1].digest)
    assert [one["revision"] for one in history(other_gateway)] == [2, 1]


def test_emptied_redis_does_not_remove_the_file_of_an_alias(
    client: httpx.Client, generators: Generators, worker: Worker
) -> None:
    point(client, generators[0])
    kept = worker.volume.alias("live").read_bytes()
    worker.redis.delete(ALIASES, EPOCH)
    refused(point(client, generators[1]), 503, "store_unavailable")
    refused(client.delete("/models/live"), 503, "store_unavailable")
    assert worker.volume.alias("live").read_bytes() == kept
