"""Aliases and imports that a rebuild could not read are not missing, and what they may mean is kept."""

from collections.abc import Callable

import httpx
import pytest

from contract.alias import AliasRecord
from contract.job import CheckpointFact, State
from contract.keys import (
    ALIAS_HISTORIES,
    ALIASES,
    EPOCH,
    IMPORTS,
    JOB_KEYS,
    LEFT_OUT,
)
from contract.rebuilding import leave_out
from contract.volume import Volume
from service.store import Store
from tests.service.deployment import DAY, Deployment
from tests.service.playing import Trainer, Worker
from tests.service.problems import refused
from tests.service.sending import checkpoint, send
from tests.service.waiting import until


@pytest.fixture
def aliased(client: httpx.Client, worker: Worker, finished: CheckpointFact) -> str:
    """The job that the alias `live` points to, whose file a rebuild could not read."""
    job: str = client.put("/models/live", json={"digest": finished.digest}).json()["job"]
    worker.redis.delete(ALIASES, ALIAS_HISTORIES)
    worker.run(leave_out("live"))
    return job


def test_unreadable_alias_is_not_missing_and_comes_back(
    client: httpx.Client, worker: Worker, volume: Volume, aliased: str
) -> None:
    text = volume.alias("live").read_text()
    volume.alias("live").write_text(text[:9])
    worker.rebuilder.restore_left_out()
    for answer in (
        client.get("/models/live"),
        client.get("/models/live/history"),
        client.get("/samples?seed=1&model=live"),
        client.post("/models/live/rollback"),
        client.delete("/models/live"),
    ):
        assert "cannot be read" in refused(answer, 503, "store_unavailable")["detail"]
    volume.alias("live").write_text(text)
    worker.rebuilder.restore_left_out()
    assert client.get("/models/live").json()["job"] == aliased


@pytest.mark.parametrize("damage", ["torn", "unopenable"])
def test_put_replaces_an_unreadable_alias(
    client: httpx.Client, worker: Worker, volume: Volume, aliased: str, damage: str
) -> None:
    path = volume.alias("live")
    path.unlink()
    if damage == "torn":
        path.write_text("{")
    else:
        path.symlink_to(path)
    client.put("/models/live", json={"job": aliased}).raise_for_status()
    assert AliasRecord.of_file(path.read_bytes()).now.job == aliased
    assert not worker.redis.exists(LEFT_OUT)


@pytest.mark.parametrize("is_rebuilding", [False, True])
def test_conditions_are_not_applied_to_an_alias_that_is_not_restored_yet(
    client: httpx.Client, worker: Worker, volume: Volume, aliased: str, *, is_rebuilding: bool
) -> None:
    text = volume.alias("live").read_bytes()[:9]
    volume.alias("live").write_bytes(text)
    if is_rebuilding:
        worker.redis.delete(EPOCH, LEFT_OUT)
    for condition in ({"If-Match": '"1-0"'}, {"If-Match": "*"}, {"If-None-Match": "*"}):
        for answer in (
            client.put("/models/live", json={"job": aliased}, headers=condition),
            client.post("/models/live/rollback", headers=condition),
            client.delete("/models/live", headers=condition),
        ):
            refused(answer, 503, "store_unavailable")
            assert volume.alias("live").read_bytes() == text


def test_conditions_are_applied_to_an_alias_that_has_just_been_created(
    client: httpx.Client, aliased: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis did not have it yet when the request was first looked at."""
    etag = client.put("/models/live", json={"job": aliased}).headers["etag"]
    look = Store.alias_record

    async def look_too_early(store: Store, alias: str) -> None:
        monkeypatch.setattr(Store, "alias_record", look)

    for condition, status in (("If-None-Match", 412), ("If-Match", 200)):
        monkeypatch.setattr(Store, "alias_record", look_too_early)
        answer = client.put("/models/live", json={"job": aliased}, headers={condition: etag})
        assert (answer.status_code, client.get("/models/live").headers["etag"]) == (status, etag)


def test_readable_alias_is_kept_while_its_job_is_left_out(
    client: httpx.Client, worker: Worker, trainer: Trainer, volume: Volume, aliased: str
) -> None:
    """Both were unreadable when Redis was emptied, and the alias's file was repaired first."""
    digest = send(client, checkpoint(images_seen=33)).json()["digest"]
    text = volume.alias("live").read_bytes()
    record = JOB_KEYS.record_of + aliased
    worker.redis.rename(record, "away")
    worker.run(leave_out(aliased))
    for answer in (client.delete("/models/live"), client.put("/models/live", json={"digest": digest})):
        refused(answer, 503, "store_unavailable")
        assert volume.alias("live").read_bytes() == text
    worker.redis.rename("away", record)
    worker.rebuilder.restore_left_out()
    assert client.get("/models/live").json()["job"] == aliased


def test_nothing_is_deleted_that_an_unreadable_alias_may_mean(
    client: httpx.Client, worker: Worker, trainer: Trainer, volume: Volume, aliased: str
) -> None:
    digest = send(client, checkpoint(images_seen=31)).json()["digest"]
    for address in (f"/jobs/{aliased}", f"/models/{digest}"):
        assert "live" in refused(client.delete(address), 503, "store_unavailable")["detail"]
        assert client.get(address).status_code == 200
    assert volume.imported(digest).exists()
    assert not volume.pending_tombstone(aliased).exists()
    client.put("/models/live", json={"digest": digest}).raise_for_status()  # its file is readable again
    assert not worker.redis.exists(LEFT_OUT)
    assert client.delete(f"/jobs/{aliased}").status_code == 204


def test_no_job_expires_while_an_alias_is_unreadable(
    elsewhere: Callable[..., Deployment], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.retention.ROUND_SECONDS", 0.05)
    there = elsewhere(keep_jobs_days=1 / DAY)
    there.worker.run(leave_out("live"))
    expired = there.end(State.FAILED)
    there.age(expired, DAY)
    rounds: list[object] = []
    monkeypatch.setattr("service.retention.logger.warning", lambda *told: rounds.append(told))
    until(lambda: len(rounds) > 1)
    assert there.client.get(f"/jobs/{expired}").status_code == 200
    there.worker.redis.delete(LEFT_OUT)
    until(lambda: there.client.get(f"/jobs/{expired}").status_code == 410)


def test_unreadable_import_is_not_missing_and_can_be_imported_again(
    client: httpx.Client, worker: Worker, trainer: Trainer
) -> None:
    content = checkpoint(images_seen=32)
    digest = send(client, content).json()["digest"]
    worker.redis.hdel(IMPORTS, digest)
    worker.run(leave_out(digest))
    assert "cannot be read" in refused(client.get(f"/models/{digest}"), 503, "store_unavailable")["detail"]
    assert send(client, content).status_code == 201
    assert not worker.redis.exists(LEFT_OUT)
    assert client.get(f"/models/{digest}").status_code == 200
