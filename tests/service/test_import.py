"""A generator that is sent is taken, or refused with what is wrong; nothing that is refused stays."""

import fcntl
import hashlib
import json
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
import redis

from contract.errors import ErrorCode
from contract.imports import forget_import
from contract.job import CheckpointFact, Problem, State
from contract.keys import EPOCH, IMPORTS, WORKSHOP_REPLY_OF, WORKSHOP_WAITING, Role
from contract.store import leave, report
from contract.volume import Volume
from contract.workshop import WorkshopAnswer, WorkshopAsk, export
from service.settings import Settings
from tests.models.checkpoints import spec
from worker.rebuild import rebuild_if_lost
from worker.store import Store

Refused = Callable[..., dict[str, Any]]
Until = Callable[[Callable[[], Any]], Any]
SPEC = spec().model_dump(mode="json")
HEADER = {"format_version": 1, "job": "job_" + "0" * 16, "spec": SPEC, "images_seen": 7}
BINARY = "application/octet-stream"
TENSOR = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def packed(header: object, body: bytes = b"\0" * 24) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def checkpoint(**more: object) -> bytes:
    """A whole file by its header; its tensors are the trainer's to judge."""
    metadata = {"dcgan": json.dumps({**HEADER, **more})}
    return packed({"__metadata__": metadata, "a": TENSOR})


class Trainer(threading.Thread):
    """Plays the workshop of a trainer."""

    def __init__(self, url: str, volume: Volume) -> None:
        super().__init__(daemon=True)
        self.asks: list[WorkshopAsk] = []
        self.refusal: Problem | None = None
        self.loses_what_it_makes = False
        self._volume = volume
        self._redis = redis.Redis.from_url(url, decode_responses=True)
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.005):
            frame = self._redis.lpop(WORKSHOP_WAITING)
            if isinstance(frame, str):
                ask = WorkshopAsk.model_validate_json(frame)
                self.asks.append(ask)
                assert self._volume.checkpoint(ask.place.job, ask.place.file).exists()
                if ask.task != "inspect" and not self.refusal:
                    path = export(self._volume, ask.place, ask.digest, ask.task)
                    path.parent.mkdir(exist_ok=True)
                    path.write_bytes(ask.task.encode())
                    if self.loses_what_it_makes:
                        path.unlink()
                answer = WorkshopAnswer(error=self.refusal)
                self._redis.set(WORKSHOP_REPLY_OF + ask.id, answer.model_dump_json(), ex=30)

    def stop(self) -> None:
        self._ended.set()
        self.join()


@pytest.fixture
def trainer(worker: Any, volume: Volume) -> Iterator[Trainer]:
    trainer = Trainer(worker.url, volume)
    trainer.start()
    yield trainer
    trainer.stop()


def send(
    client: httpx.Client, content: bytes, media_type: str = "application/octet-stream"
) -> httpx.Response:
    return client.post("/models", content=content, headers={"Content-Type": media_type})


def left(volume: Volume) -> list[str]:
    """What is being received, or was left by it."""
    return [path.name for path in volume.incoming_imports.glob("*")]


def test_a_generator_from_elsewhere_is_like_any_other(
    client: httpx.Client, sampler: Any, trainer: Trainer, volume: Volume, worker: Any
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
    worker.redis.flushall()
    assert rebuild_if_lost(Store(worker.url), volume, "w0", 60)
    assert client.get("/models/live").json()["digest"] == digest
    assert client.get("/models").json()["items"][-1]["digest"] == digest
    assert client.get(f"/models/{digest}/export").content == content
    assert left(volume) == []


def test_the_way_back_leads_to_a_generator_that_came_back_as_a_file(
    client: httpx.Client, trainer: Trainer, worker: Any, volume: Volume, new_job: Callable[[], str]
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


def test_a_program_is_made_once(client: httpx.Client, trainer: Trainer, refused: Refused) -> None:
    digest = send(client, checkpoint(images_seen=2)).json()["digest"]
    for _ in range(2):
        answer = client.get(f"/models/{digest}/export?format=onnx")
        assert (answer.status_code, answer.content) == (200, b"onnx")
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["content-disposition"].endswith('.onnx"')
    assert [ask.task for ask in trainer.asks] == ["inspect", "onnx"]
    trainer.refusal = Problem(code=ErrorCode.EXPORT_UNAVAILABLE, detail="Install it.")
    refused(client.get(f"/models/{digest}/export?format=torch-export"), 501, "export_unavailable")


def test_a_program_that_is_gone_once_it_is_made_is_no_mistake_of_the_gateway(
    client: httpx.Client, trainer: Trainer, refused: Refused
) -> None:
    """Deleted with its job by another gateway, say."""
    digest = send(client, checkpoint(images_seen=10)).json()["digest"]
    trainer.loses_what_it_makes = True
    refused(client.get(f"/models/{digest}/export?format=onnx"), 500, "checkpoint_unreadable")


def test_an_imported_generator_is_deleted_with_its_programs_once_nothing_means_it(
    client: httpx.Client, trainer: Trainer, refused: Refused, volume: Volume
) -> None:
    digest = send(client, checkpoint(images_seen=3)).json()["digest"]
    client.get(f"/models/{digest}/export?format=onnx").raise_for_status()
    client.put("/models/live", json={"digest": digest}).raise_for_status()
    refused(client.delete(f"/models/{digest}"), 409, "model_in_use")
    client.delete("/models/live").raise_for_status()
    for condition in ({"If-Match": '"seen"'}, {"If-None-Match": "*"}):
        answer = client.delete(f"/models/{digest}", headers=condition)
        assert "leave the condition out" in refused(answer, 412, "precondition_failed")["detail"]
    assert client.delete(f"/models/{digest}", headers={"If-Match": "*"}).status_code == 204
    refused(client.delete(f"/models/{digest}", headers={"If-Match": '"seen"'}), 404, "model_not_found")
    assert not list(volume.imports.rglob(f"{digest[7:]}*"))
    refused(client.get(f"/models/{digest}"), 404, "model_not_found")
    refused(client.delete(f"/models/{digest}"), 404, "model_not_found")
    refused(client.delete("/models/job_0000000000000000"), 422, "invalid_request")


@pytest.mark.parametrize("lost", ["the answer", "the gateway"])
def test_a_deletion_that_broke_off_is_finished(
    client: httpx.Client,
    trainer: Trainer,
    refused: Refused,
    volume: Volume,
    worker: Any,
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
def test_an_import_that_broke_off_is_whole_or_gone(
    client: httpx.Client,
    trainer: Trainer,
    refused: Refused,
    volume: Volume,
    until: Until,
    cut: Callable[[str, bool], None],
    is_heard: bool,
) -> None:
    content = checkpoint(images_seen=12 + is_heard)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    cut("add_import", is_heard)
    refused(send(client, content), 503, "store_unavailable")
    until(lambda: volume.imported(digest).exists() == client.get(f"/models/{digest}").is_success == is_heard)
    assert send(client, content).status_code == (200 if is_heard else 201)


def test_an_import_that_breaks_off_removes_no_file_but_its_own(
    client: httpx.Client,
    trainer: Trainer,
    refused: Refused,
    volume: Volume,
    worker: Any,
    cut: Callable[[str, bool], None],
    monkeypatch: Any,
) -> None:
    removed: list[str] = []
    monkeypatch.setattr("service.importing._settle", lambda _, digest: removed.append(digest))
    content = checkpoint(images_seen=14)
    digest = send(client, content).json()["digest"]
    worker.redis.hdel(IMPORTS, digest)  # a Redis that lost its last second
    cut("add_import", False)
    refused(send(client, content), 503, "store_unavailable")
    assert not removed
    assert volume.imported(digest).read_bytes() == content


def test_while_records_are_rebuilt_nothing_is_taken_in(
    client: httpx.Client, trainer: Trainer, refused: Refused, volume: Volume, worker: Any
) -> None:
    content = checkpoint(images_seen=17)
    worker.redis.delete(EPOCH)
    refused(send(client, content), 503, "store_unavailable")
    assert not volume.imported(f"sha256:{hashlib.sha256(content).hexdigest()}").exists()


def test_one_gateway_at_a_time_takes_in_or_removes_a_generator(
    client: httpx.Client, trainer: Trainer, refused: Refused, volume: Volume, monkeypatch: Any
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


WRONG: dict[str, tuple[bytes, str]] = {
    "a pickle": (pickle.dumps({"weights": [1.0]}), "pickle"),
    "a pickle of torch": (b"PK\3\4" + b"\0" * 100, "pickle"),
    "a few bytes": (b"abc", "cut off"),
    "a header beyond the file": (packed({})[:8] + b"{", "cut off"),
    "a length that nobody has": (b"\xff" * 8 + b"{}", "cut off"),
    "an endless header": (packed(b" " * 300_000, b""), "at most"),
    "no JSON": (packed(b"\xff\xfe", b""), "damaged"),
    "bottomless": (packed(b"[" * 100_000, b""), "damaged"),
    "a list": (packed([1], b""), "no JSON object"),
    "somebody else's": (packed({"a": TENSOR}), "something else"),
    "other metadata": (packed({"__metadata__": {"format": "pt"}, "a": TENSOR}), "something else"),
    "torn": (checkpoint()[:-1], "23"),
    "padded": (checkpoint() + b"\0", "25"),
    "half floats": (packed({"a": {**TENSOR, "dtype": "F16"}}), "F16"),
    "a gap": (packed({"a": {**TENSOR, "data_offsets": [4, 28]}}, b"\0" * 28), "does not lie"),
    "an overlap": (packed({"a": TENSOR, "b": TENSOR}), "does not lie"),
    "a negative shape": (packed({"a": {**TENSOR, "shape": [-2, -3]}}), "whole numbers"),
    "a huge shape": (packed({"a": {**TENSOR, "shape": [2**62, 2**62]}}), "does not lie"),
    "an endless shape": (packed({"a": {**TENSOR, "shape": [9] * 86_000}}), "86,000 dimensions"),
    "a shape of words": (packed({"a": {**TENSOR, "shape": ["2", 3]}}), "whole numbers"),
    "no places": (packed({"a": {"dtype": "F32", "shape": [2, 3]}}), "damaged"),
    "a tensor that is a number": (packed({"a": 7}), "damaged"),
    "a newer version": (checkpoint(format_version=2), "format_version"),
    "an absurd width": (
        checkpoint(spec={**SPEC, "architecture": {"kind": "dcgan", "generator_width": 10**9}}),
        "generator_width",
    ),
    "an absurd resolution": (checkpoint(spec={**SPEC, "resolution": 10**6}), "spec"),
    "an unknown family": (checkpoint(spec={**SPEC, "architecture": "gpt"}), "architecture"),
    "no job": (checkpoint(job="../../etc"), "job"),
}


@pytest.mark.parametrize(("content", "why"), WRONG.values(), ids=WRONG)
def test_what_is_no_checkpoint_of_ours_is_refused(
    client: httpx.Client, trainer: Trainer, refused: Refused, volume: Volume, content: bytes, why: str
) -> None:
    problem = refused(send(client, content), 422, "not_a_checkpoint")
    assert why in problem["detail"]
    assert (trainer.asks, left(volume)) == ([], [])


def test_what_a_trainer_refuses_is_not_kept(
    client: httpx.Client, trainer: Trainer, refused: Refused, volume: Volume
) -> None:
    trainer.refusal = Problem(code=ErrorCode.NOT_A_CHECKPOINT, detail="It holds a number that is not finite.")
    content = checkpoint(images_seen=4)
    assert "finite" in refused(send(client, content), 422, "not_a_checkpoint")["detail"]
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    refused(client.get(f"/models/{digest}"), 404, "model_not_found")
    assert (left(volume), volume.imported(digest).exists()) == ([], False)


def test_bodies_of_the_wrong_kind_are_refused(
    client: httpx.Client, refused: Refused, volume: Volume, worker: Any, until: Until
) -> None:
    refused(send(client, b""), 422, "body_empty")
    refused(send(client, checkpoint(), "application/json"), 415, "unsupported_media_type")
    worker.goodbye(Role.TRAIN)
    until(lambda: client.get("/readyz").status_code == 503)
    refused(send(client, checkpoint(images_seen=5)), 503, "no_trainer")
    assert left(volume) == []


def test_what_is_too_large_is_refused_before_it_is_read_whole(
    serve: Callable[[Settings], AbstractContextManager[str]], worker: Any, trainer: Trainer, refused: Refused
) -> None:
    content = checkpoint(images_seen=6)
    limits = {"max_import_bytes": len(content), "imports_bytes": 2 * len(content) - 1}
    worker.redis.delete("dcgan:imports")
    with (
        serve(Settings(data_root=worker.volume.root, redis_url=worker.url, **limits)) as url,  # type: ignore[arg-type]
        httpx.Client(base_url=url) as client,
    ):
        refused(send(client, content + b"\0"), 413, "body_too_large")
        stream = (content[:100] for _ in range(1000))
        refused(
            client.post("/models", content=stream, headers={"Content-Type": BINARY}),
            413,
            "body_too_large",
        )
        assert send(client, content).status_code == 201
        assert "DELETE" in refused(send(client, checkpoint(images_seen=8)), 507, "imports_full")["detail"]
        assert send(client, content).status_code == 200
    assert left(worker.volume) == []


def test_what_a_killed_gateway_had_only_begun_to_receive_is_swept(
    serve: Callable[[Settings], AbstractContextManager[str]], worker: Any
) -> None:
    begun = worker.volume.incoming_imports / "1.safetensors"
    begun.parent.mkdir(parents=True, exist_ok=True)
    begun.write_bytes(b"half")
    with serve(Settings(data_root=worker.volume.root, redis_url=worker.url)):
        assert left(worker.volume) == []
