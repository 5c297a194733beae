"""Changes of an alias that do not reach Redis, or whose reply is lost."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from contract.alias import AliasRecord
from contract.job import CheckpointFact, State
from contract.keys import ALIASES
from contract.pointing import meanings
from service import aliases
from service.settings import Settings
from tests.service.deployment import Deployment
from tests.service.playing import Worker
from tests.service.problems import refused
from tests.service.serving import serve
from tests.service.waiting import until


@pytest.mark.parametrize("is_heard", [False, True])
def test_volume_and_redis_soon_agree_after_an_interrupted_change(
    client: httpx.Client,
    worker: Worker,
    generators: list[CheckpointFact],
    cut: Callable[[str, bool], None],
    is_heard: bool,
) -> None:
    first, second, _ = generators
    client.put("/models/live", json={"digest": first.digest}).raise_for_status()
    cut("point", is_heard)
    refused(client.put("/models/live", json={"digest": second.digest}), 503, "store_unavailable")
    until(lambda: client.get("/models/live").json()["digest"] == second.digest)
    kept = json.loads(worker.volume.alias("live").read_text())
    assert (kept["digest"], kept["revision"]) == (second.digest, 2)
    cut("unpoint", is_heard)
    refused(client.delete("/models/live"), 503, "store_unavailable")
    until(
        lambda: (
            worker.volume.alias("live").exists() == client.get("/models/live").is_success == (not is_heard)
        )
    )


def test_change_that_is_sent_twice_is_applied_once(
    client: httpx.Client, worker: Worker, generators: list[CheckpointFact], said_twice: Callable[[str], None]
) -> None:
    first, second, _ = generators
    kept = worker.volume.alias("live")

    said_twice("point")
    made = client.put("/models/live", json={"digest": first.digest})
    assert (made.status_code, made.json()["revision"]) == (201, 1)

    said_twice("point")
    seen = {"If-Match": made.headers["etag"]}
    moved = client.put("/models/live", json={"digest": second.digest}, headers=seen)
    assert (moved.status_code, moved.json()["revision"]) == (200, 2)

    said_twice("point")
    back = client.post("/models/live/rollback").raise_for_status().json()
    assert (back["digest"], back["revision"]) == (first.digest, 3)
    assert back == client.get("/models/live").json()
    assert json.loads(kept.read_text())["revision"] == 3

    said_twice("unpoint")
    assert client.delete("/models/live").status_code == 204
    assert not kept.exists()
    assert client.get("/models/live").status_code == 404


def test_unreadable_alias_does_not_keep_others_unsettled(
    elsewhere: Callable[..., Deployment], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("service.settling.ROUND_SECONDS", 0.05)
    there = elsewhere()
    job, volume = there.end(State.SUCCEEDED), there.worker.volume
    for alias in ("first", "second"):
        there.client.put(f"/models/{alias}", json={"job": job}).raise_for_status()
        record = AliasRecord.of_file(volume.alias(alias).read_bytes())
        volume.alias(alias).write_bytes(record.moved(record.now).as_file())  # by a gateway that died then
    there.stop()
    readable = volume.alias("first").rename(volume.root / "readable")
    volume.alias("first").symlink_to(volume.alias("first"))
    volume.alias("second 2").touch()

    def is_settled(alias: str) -> bool:
        record = there.worker.run(meanings(alias))
        assert record is not None
        return record.now.revision == 2

    with serve(Settings(data_root=volume.root, redis_url=there.worker.url)):
        until(lambda: is_settled("second"))
        readable.replace(volume.alias("first"))
        until(lambda: is_settled("first"))
    assert caplog.text.count("second 2.json") == 1


def test_duplicate_of_an_aliass_file_becomes_no_alias(elsewhere: Callable[..., Deployment]) -> None:
    """To a starting gateway, a file that Redis does not know is the change of a killed one."""
    there = elsewhere()
    there.end(State.SUCCEEDED)
    job = there.client.get("/models/latest").json()["job"]
    there.client.put("/models/live", json={"job": job}).raise_for_status()
    there.stop()
    volume = there.worker.volume
    for name in ("live 2", "other"):
        volume.alias(name).write_bytes(volume.alias("live").read_bytes())
    with serve(Settings(data_root=volume.root, redis_url=there.worker.url)):
        until(lambda: there.worker.redis.hexists(ALIASES, "other"))  # after "live 2"
    assert not there.worker.redis.hexists(ALIASES, "live 2")


def test_refused_move_is_settled_without_looking_at_other_aliases(
    elsewhere: Callable[..., Deployment], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, read, looked_at = elsewhere(), aliases._read, list[str]()
    job = there.end(State.SUCCEEDED)
    for alias in ("first", "second"):
        there.client.put(f"/models/{alias}", json={"job": job}).raise_for_status()

    def note(path: Path, in_redis: AliasRecord | None) -> AliasRecord | None:
        looked_at.append(path.stem)
        return read(path, in_redis)

    def fail(_path: Path, _record: AliasRecord | None) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(aliases, "_read", note)
    monkeypatch.setattr(aliases, "_keep", fail)
    following = {"job": job, "follow": True}
    refused(there.client.put("/models/second", json=following), 507, "volume_full")
    until(lambda: len(looked_at) > 1)
    assert set(looked_at) == {"second"}
