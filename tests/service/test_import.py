"""An imported generator is stored unchanged, and is then like any other."""

import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from contract.errors import ErrorCode
from contract.identifiers import IMPORTED
from contract.imports import forget_import
from contract.job import CheckpointFact, Failure, State
from contract.keys import DIGESTS, EPOCH, IMPORTS, Role
from contract.owning import leave, report
from contract.sampling import CheckpointPlace
from contract.volume import Volume, imported_name
from contract.workshop import checksum, export
from service.settings import Settings
from tests.service.deployment import Deployment
from tests.service.playing import Sampler, Trainer, Worker
from tests.service.problems import refused
from tests.service.sending import checkpoint, left, send
from tests.service.serving import serve
from tests.service.waiting import until


def test_imported_generator_is_like_any_other(
    client: httpx.Client, sampler: Sampler, trainer: Trainer, volume: Volume
) -> None:
    content = checkpoint(images_seen=1)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    made = send(client, content)
    assert (made.status_code, made.headers["location"]) == (201, f"/models/{digest}")
    assert (made.json()["digest"], made.json()["job"], made.json()["alias"]) == (digest, None, None)
    assert (
        made.json() == client.get(made.headers["location"]).json() == client.get("/models").json()["items"][0]
    )
    again = send(client, content, "application/x-safetensors")
    assert (again.status_code, again.json()) == (200, made.json())
    assert len(trainer.asks) == 1
    client.put("/models/live", json={"digest": digest}).raise_for_status()
    assert client.get("/samples?model=live&seed=3").headers["x-model-digest"] == digest
    place = sampler.asks[-1].place
    assert volume.checkpoint(place.job, place.file).read_bytes() == content
    assert client.get("/models/live/export").content == content
    assert left(volume) == []


def test_import_of_what_a_job_has_made_answers_with_the_import(
    client: httpx.Client, worker: Worker, trainer: Trainer, job_id: str
) -> None:
    content = checkpoint(images_seen=2)
    digest = send(client, content).json()["digest"]
    worker.redis.hset(DIGESTS, digest, job_id)  # as if it had made it
    again = send(client, content)
    assert (again.status_code, again.json()["job"]) == (200, None)
    assert again.json() in client.get("/models").json()["items"]


def test_imported_generator_and_its_alias_survive_the_loss_of_redis(
    elsewhere: Callable[..., Deployment],
) -> None:
    there, content = elsewhere(), checkpoint(images_seen=1)
    client, worker = there.client, there.worker
    trainer = Trainer(worker.url, worker.volume)
    trainer.start()
    digest = send(client, content).json()["digest"]
    trainer.stop()
    worker.goodbye(Role.SAMPLE)  # whose answer the move would wait for
    client.put("/models/live", json={"digest": digest}).raise_for_status()
    worker.redis.flushdb()
    assert worker.rebuilder.rebuild_if_lost()
    assert client.get("/models/live").json()["digest"] == digest
    assert client.get("/models").json()["items"][-1]["digest"] == digest
    assert client.get(f"/models/{digest}/export").content == content


@pytest.mark.parametrize("harm", [lambda path: path.write_bytes(b"damaged"), lambda path: path.unlink()])
def test_import_of_a_generator_whose_file_was_damaged_repairs_it(
    client: httpx.Client, sampler: Sampler, trainer: Trainer, volume: Volume, harm: Callable[[Path], object]
) -> None:
    content = checkpoint(images_seen=1)
    digest = send(client, content).json()["digest"]
    client.put("/models/live", json={"digest": digest}).raise_for_status()
    harm(volume.imported(digest))
    assert send(client, content).status_code == 201
    assert volume.imported(digest).read_bytes() == content
    assert client.get("/models/live/export").content == content
    assert left(volume) == []


def test_rollback_finds_a_deleted_generator_that_was_imported_again(
    client: httpx.Client, trainer: Trainer, worker: Worker, volume: Volume, new_job: Callable[[], str]
) -> None:
    content = checkpoint(images_seen=9)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    job, lease = new_job(), worker.claim()
    fact = CheckpointFact(file="1.safetensors", digest=digest, images_seen=9, bytes=len(content))
    worker.run(report(lease, 1, fields={"checkpoint": fact.model_dump_json()}, checkpoint=fact))
    worker.run(leave(lease, State.SUCCEEDED))
    other = send(client, checkpoint(images_seen=10)).json()["digest"]
    client.put("/models/live", json={"job": job, "follow": True}).raise_for_status()
    client.put("/models/live", json={"digest": other}).raise_for_status()
    client.delete(f"/jobs/{job}").raise_for_status()
    send(client, content).raise_for_status()
    back = client.post("/models/live/rollback").json()
    assert (back["digest"], back["job"], back["follow"]) == (digest, None, False)
    assert client.get("/models/live/export").content == content


def test_program_is_exported_once(client: httpx.Client, trainer: Trainer) -> None:
    digest = send(client, checkpoint(images_seen=2)).json()["digest"]
    for _ in range(2):
        answer = client.get(f"/models/{digest}/export?format=onnx")
        assert (answer.status_code, answer.content) == (200, b"onnx")
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["content-disposition"].endswith('.onnx"')
    assert [ask.task for ask in trainer.asks] == ["inspect", "onnx"]
    trainer.refusal = Failure(code=ErrorCode.EXPORT_UNAVAILABLE, detail="Install it.")
    refused(client.get(f"/models/{digest}/export?format=torch-export"), 501, "export_unavailable")


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(b"onnY"),
        lambda path: checksum(path).write_bytes(b"\xff"),
    ],
    ids=["rotten", "checksum rotten"],
)
def test_program_that_does_not_match_its_checksum_is_made_anew(
    client: httpx.Client,
    trainer: Trainer,
    volume: Volume,
    harm: Callable[[Path], object],
) -> None:
    digest = send(client, checkpoint(images_seen=19)).json()["digest"]
    address = f"/models/{digest}/export?format=onnx"
    etag = client.get(address).headers["etag"]
    harm(export(volume, CheckpointPlace(job=IMPORTED, file=imported_name(digest)), digest, "onnx"))
    again = client.get(address)
    assert (again.content, again.headers["etag"]) == (b"onnx", etag)
    assert [ask.task for ask in trainer.asks] == ["inspect", "onnx", "onnx"]


def test_program_of_a_trainer_that_notes_no_checksum_is_exported_once(
    client: httpx.Client, trainer: Trainer
) -> None:
    """Older versions do not."""
    trainer.notes_checksums = False
    digest = send(client, checkpoint(images_seen=34)).json()["digest"]
    for _ in range(2):
        assert client.get(f"/models/{digest}/export?format=onnx").content == b"onnx"
    assert [ask.task for ask in trainer.asks] == ["inspect", "onnx"]


def test_exported_program_that_vanishes_is_not_an_internal_error(
    client: httpx.Client, trainer: Trainer
) -> None:
    """For example, if another gateway deletes it with its job."""
    digest = send(client, checkpoint(images_seen=10)).json()["digest"]
    trainer.loses_what_it_makes = True
    refused(client.get(f"/models/{digest}/export?format=onnx"), 500, "checkpoint_unreadable")


def test_imported_generator_is_deleted_with_its_programs_once_no_alias_uses_it(
    client: httpx.Client, trainer: Trainer, volume: Volume
) -> None:
    digest = send(client, checkpoint(images_seen=3)).json()["digest"]
    client.get(f"/models/{digest}/export?format=onnx").raise_for_status()
    client.put("/models/live", json={"digest": digest}).raise_for_status()
    refused(client.delete(f"/models/{digest}"), 409, "model_in_use")
    client.delete("/models/live").raise_for_status()
    for condition in ({"If-Match": '"seen"'}, {"If-None-Match": "*"}, {"If-None-Match": "W/*"}):
        answer = client.delete(f"/models/{digest}", headers=condition)
        assert "repeat without the condition" in refused(answer, 412, "precondition_failed")["detail"]
    assert client.delete(f"/models/{digest}", headers={"If-Match": "*"}).status_code == 204
    refused(client.delete(f"/models/{digest}", headers={"If-Match": '"seen"'}), 404, "model_not_found")
    assert not list(volume.imports.rglob(f"{digest[7:]}*"))
    refused(client.get(f"/models/{digest}"), 404, "model_not_found")
    refused(client.delete(f"/models/{digest}"), 404, "model_not_found")
    refused(client.delete("/models/job_0000000000000000"), 422, "invalid_request")


@pytest.mark.parametrize("lost", ["the answer", "the gateway"])
def test_interrupted_deletion_can_be_completed(
    client: httpx.Client,
    trainer: Trainer,
    volume: Volume,
    worker: Worker,
    said_twice: Callable[[str], None],
    lost: str,
) -> None:
    digest = send(client, checkpoint(images_seen=11)).json()["digest"]
    client.get(f"/models/{digest}/export?format=onnx").raise_for_status()
    if lost == "the answer":
        said_twice("forget_import")
    else:  # killed between Redis and the volume
        worker.run(forget_import(digest))
    assert client.delete(f"/models/{digest}").status_code == 204
    assert not list(volume.imports.rglob(f"{digest[7:]}*"))
    refused(client.delete(f"/models/{digest}"), 404, "model_not_found")


@pytest.mark.parametrize("is_heard", [False, True])
def test_interrupted_import_is_either_complete_or_removed(
    client: httpx.Client, trainer: Trainer, volume: Volume, cut: Callable[[str, bool], None], is_heard: bool
) -> None:
    content = checkpoint(images_seen=12 + is_heard)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    cut("add_import", is_heard)
    refused(send(client, content), 503, "store_unavailable")
    until(lambda: volume.imported(digest).exists() == client.get(f"/models/{digest}").is_success == is_heard)
    assert send(client, content).status_code == (200 if is_heard else 201)


def test_interrupted_import_does_not_remove_an_existing_file(
    client: httpx.Client,
    trainer: Trainer,
    volume: Volume,
    worker: Worker,
    cut: Callable[[str, bool], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = checkpoint(images_seen=14)
    digest = send(client, content).json()["digest"]
    worker.redis.hdel(IMPORTS, digest)  # as if Redis lost its last second of writes
    cut("add_import", False)
    refused(send(client, content), 503, "store_unavailable")
    assert not list(volume.all_notes_of_imports())
    assert volume.imported(digest).read_bytes() == content


def test_generator_whose_file_is_missing_can_be_imported_again(
    client: httpx.Client, trainer: Trainer, volume: Volume
) -> None:
    content = checkpoint(images_seen=18)
    digest = send(client, content).json()["digest"]
    volume.imported(digest).unlink()
    assert send(client, content).status_code == 201
    assert volume.imported(digest).read_bytes() == content


def test_import_is_refused_while_records_are_rebuilt(
    client: httpx.Client, trainer: Trainer, volume: Volume, worker: Worker
) -> None:
    content = checkpoint(images_seen=17)
    worker.redis.delete(EPOCH)
    refused(send(client, content), 503, "store_unavailable")
    assert not volume.imported(f"sha256:{hashlib.sha256(content).hexdigest()}").exists()


def test_only_one_gateway_at_a_time_imports_or_deletes_a_generator(
    client: httpx.Client, trainer: Trainer, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = send(client, checkpoint(images_seen=15)).json()["digest"]
    monkeypatch.setattr("service.alone._PATIENCE_SECONDS", 0.1)
    other = os.open(volume.imports, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    refused(send(client, checkpoint(images_seen=16)), 503, "store_unavailable")
    refused(client.delete(f"/models/{digest}"), 503, "store_unavailable")
    os.close(other)
    assert send(client, checkpoint(images_seen=16)).status_code == 201
    assert client.delete(f"/models/{digest}").status_code == 204


def test_partial_import_of_a_killed_gateway_is_removed_at_start(worker: Worker) -> None:
    begun = worker.volume.incoming_imports / "1.safetensors"
    begun.parent.mkdir(parents=True, exist_ok=True)
    begun.write_bytes(b"half")
    with serve(Settings(data_root=worker.volume.root, redis_url=worker.url)):
        until(lambda: not left(worker.volume))
