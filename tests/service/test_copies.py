"""A generator may have two copies, a job's checkpoint and an import: if one is damaged, the other is used."""

import hashlib
from collections.abc import Callable

import httpx
import pytest

from contract.durable import write_durably
from contract.errors import ErrorCode
from contract.identifiers import IMPORTED
from contract.job import CheckpointFact, State
from contract.owning import leave, report
from contract.sampling import CheckpointPlace
from contract.volume import Volume, imported_name
from tests.service.playing import Sampler, Trainer, Worker
from tests.service.problems import refused
from tests.service.sending import checkpoint, send


@pytest.fixture
def content(request: pytest.FixtureRequest) -> bytes:
    """The file of a generator."""
    return checkpoint(name=request.node.name)


@pytest.fixture
def made(
    client: httpx.Client, worker: Worker, new_job: Callable[[], str], volume: Volume, content: bytes
) -> CheckpointPlace:
    """Where the finished job keeps it."""
    job, lease = new_job(), worker.claim()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    fact = CheckpointFact(file="1.safetensors", digest=digest, images_seen=1, bytes=len(content))
    write_durably(volume.checkpoint(job, fact.file), content)
    worker.run(report(lease, 1, fields={"checkpoint": fact.model_dump_json()}, checkpoint=fact))
    worker.run(leave(lease, State.SUCCEEDED))
    return CheckpointPlace(job=job, file=fact.file)


@pytest.fixture
def digest(client: httpx.Client, trainer: Trainer, made: CheckpointPlace, content: bytes) -> str:
    """The digest of the generator, which was imported, too."""
    sent = send(client, content)
    assert sent.status_code == 201
    return str(sent.json()["digest"])


@pytest.mark.parametrize("damaged", ["job", "import"])
def test_other_copy_is_used_in_place_of_a_damaged_one(
    client: httpx.Client,
    sampler: Sampler,
    trainer: Trainer,
    volume: Volume,
    made: CheckpointPlace,
    content: bytes,
    digest: str,
    damaged: str,
) -> None:
    imported = CheckpointPlace(job=IMPORTED, file=imported_name(digest))
    if damaged == "job":
        harmed, references = made, [digest, made.job, "latest", "live"]
        client.put("/models/live", json={"job": made.job}).raise_for_status()
    else:
        harmed, references = imported, ["live"]
        client.put("/models/live", json={"digest": digest}).raise_for_status()
    volume.checkpoint(harmed.job, harmed.file).write_bytes(b"rot")
    sampler.gone.add(harmed)
    trainer.unreadable.add(harmed)
    for seed, model in enumerate(references):
        answer = client.get(f"/samples?seed={seed}&model={model}")
        assert (answer.status_code, answer.headers["x-model-digest"]) == (200, digest)
        assert client.post("/samples", json={"seeds": [seed + 9], "model": model}).status_code == 200
        assert client.get(f"/models/{model}/export").content == content
        assert client.get(f"/models/{model}/export?format=onnx").content == b"onnx"
    other = ({made, imported} - {harmed}).pop()
    assert {one.place for one in sampler.asks} == {harmed, other}
    sampler.gone.add(other)
    refused(client.get("/samples?seed=99&model=live"), 500, ErrorCode.CHECKPOINT_UNREADABLE)


def test_other_copy_is_exported_in_place_of_one_that_cannot_be_read(
    client: httpx.Client,
    volume: Volume,
    made: CheckpointPlace,
    content: bytes,
    digest: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for copy in (volume.checkpoint(made.job, made.file), volume.imported(digest)):
        assert client.get(f"/models/{digest}/export").content == content
        copy.unlink()
        copy.mkdir()
    refused(client.get(f"/models/{digest}/export"), 500, ErrorCode.CHECKPOINT_UNREADABLE)
    assert f"{made.job}/checkpoints/{made.file}" in caplog.text
    volume.imported(digest).rmdir()


def test_alias_is_moved_to_the_imported_copy_so_that_the_job_can_be_deleted(
    client: httpx.Client, made: CheckpointPlace, digest: str
) -> None:
    client.put("/models/live", json={"job": made.job}).raise_for_status()
    refused(client.delete(f"/jobs/{made.job}"), 409, "job_in_use")
    moved = client.put("/models/live", json={"digest": digest})
    assert (moved.json()["digest"], moved.json()["job"]) == (digest, None)
    again = client.put("/models/live", json={"digest": digest})
    assert again.headers["etag"] == moved.headers["etag"]
    assert client.delete(f"/jobs/{made.job}").status_code == 204
    assert client.get("/models/live").json()["digest"] == digest


def test_rollback_to_an_import_means_the_imported_copy_while_it_exists(
    client: httpx.Client, made: CheckpointPlace, digest: str
) -> None:
    other = send(client, checkpoint(images_seen=61)).json()["digest"]
    for model in (digest, other):
        client.put("/models/live", json={"digest": model}).raise_for_status()
    back = client.post("/models/live/rollback").json()
    assert (back["digest"], back["job"]) == (digest, None)
    client.post("/models/live/rollback").raise_for_status()
    assert client.delete(f"/models/{digest}").status_code == 204
    back = client.post("/models/live/rollback").json()
    assert (back["digest"], back["job"]) == (digest, made.job)


def test_rollback_to_a_job_that_was_followed_follows_it_even_if_its_checkpoint_was_imported(
    client: httpx.Client, made: CheckpointPlace, digest: str
) -> None:
    client.put("/models/live", json={"job": made.job, "follow": True}).raise_for_status()
    client.put("/models/live", json={"digest": digest}).raise_for_status()
    back = client.post("/models/live/rollback").json()
    assert (back["job"], back["follow"]) == (made.job, True)
