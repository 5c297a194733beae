"""A trainer's workshop does what gateways ask with a generator, or tells them why it cannot."""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from pathlib import Path

import pytest
import redis
import torch

from contract import keys
from contract.errors import ErrorCode, ServiceError
from contract.identifiers import IMPORTED
from contract.job import Failure
from contract.sampling import CheckpointPlace
from contract.volume import Volume
from contract.workshop import Task, WorkshopAnswer, WorkshopAsk, checksum, export
from contract.workshop import exports as exports_of
from models import exports
from tests.models.checkpoints import write
from tests.worker.children import warm_server
from worker import crafting
from worker.child import Child, Chore
from worker.orders import WorkshopOrder
from worker.process import WorkerProcess
from worker.readings import Readings
from worker.settings import Settings
from worker.workshop import Workshop

PATIENCE_SECONDS = 300
JOB = CheckpointPlace(job="job_" + "0" * 16, file="1.safetensors")
SENT = CheckpointPlace(job=IMPORTED, file=".incoming/1.safetensors")

Ask = Callable[[Task, str, CheckpointPlace], Failure | None]


@pytest.fixture
def digest(volume: Volume) -> str:
    """The digest of a generator that is both a job's checkpoint and an incoming import."""
    for place in (JOB, SENT):
        path = volume.checkpoint(place.job, place.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        _, digest = write(path)
    return digest


@pytest.fixture
def ask(redis_url: str, volume: Volume) -> Iterator[Ask]:
    """Sends a workshop an ask as a gateway does, and waits for its answer."""
    server = warm_server()
    is_warm = threading.Event()
    is_warm.set()
    workshop = Workshop(
        WorkerProcess.create("train-1", Settings(data_root=volume.root, redis_url=redis_url)),
        lambda: Child.start(server),
        Readings(volume.readings("train-1")),
        is_warm,
    )
    workshop.start()
    client = redis.Redis.from_url(redis_url, decode_responses=True)

    def answer(task: Task, digest: str, place: CheckpointPlace) -> Failure | None:
        deadline_ms = (int(client.time()[0]) + PATIENCE_SECONDS) * 1000
        order = WorkshopAsk(id="1", deadline_ms=deadline_ms, task=task, digest=digest, place=place)
        client.rpush(keys.WORKSHOP_WAITING, "no ask", order.model_dump_json())
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not (found := client.getdel(keys.WORKSHOP_REPLY_OF + "1")):
            assert time.monotonic() < give_up, "no answer came"
            time.sleep(0.02)
        return WorkshopAnswer.model_validate_json(str(found)).error

    yield answer
    workshop.stop()
    workshop.join(PATIENCE_SECONDS)
    assert not workshop.is_alive()


def files(root: Path) -> list[str]:
    return [path.name for path in root.iterdir()]


def test_export_is_made_and_written_whole_to_the_volume(volume: Volume, digest: str, ask: Ask) -> None:
    assert ask("torch-export", digest, JOB) is None
    path = export(volume, JOB, digest, "torch-export")
    assert sorted(files(path.parent)) == [path.name, checksum(path).name]
    assert checksum(path).read_text() == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert torch.export.load(path).module()(torch.zeros(3, 8)).shape == (3, 1, 32, 32)


def test_incoming_file_is_inspected(volume: Volume, digest: str, ask: Ask) -> None:
    assert ask("inspect", digest, SENT) is None
    path = volume.checkpoint(SENT.job, SENT.file)
    path.write_bytes(path.read_bytes()[:-4])
    problem = ask("inspect", digest, SENT)
    assert problem is not None
    assert problem.code == ErrorCode.CHECKPOINT_UNREADABLE


def craft(
    volume: Volume,
    digest: str,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[..., bytes],
    place: CheckpointPlace = JOB,
) -> None:
    """Export what `make` returns, in this process."""
    for name in ("die_first", "leave_the_cores"):
        monkeypatch.setattr(crafting, name, lambda: None)  # this process is no child, and stays as it is
    monkeypatch.setattr(exports, "make", make)
    ask = WorkshopAsk(id="1", deadline_ms=0, task="torch-export", digest=digest, place=place)
    hears, says = Pipe()
    with hears, says:
        crafting.work_on_generator(
            WorkshopOrder(ask=ask, data_root=volume.root).model_dump_json(), Chore(says)
        )


def test_export_deletes_the_half_written_files_of_killed_children(
    volume: Volume, digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export(volume, JOB, digest, "torch-export")
    path.parent.mkdir()
    abandoned, in_hand = (path.with_name(f".{path.name}.{name}.tmp") for name in ("00000000", "11111111"))
    abandoned.touch()
    os.utime(abandoned, (0, time.time() - 7200))
    in_hand.touch()
    craft(volume, digest, monkeypatch, lambda *_: b"a program")
    assert sorted(files(path.parent)) == sorted([in_hand.name, path.name, checksum(path).name])


def test_job_deleted_during_an_export_is_not_recreated(
    volume: Volume, digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_and_lose(*_: object) -> bytes:
        volume.job(JOB.job).rename(volume.root / "gone")
        return b"a program"

    with pytest.raises(ServiceError) as refusal:
        craft(volume, digest, monkeypatch, make_and_lose)
    assert refusal.value.code == ErrorCode.MODEL_NOT_FOUND
    assert not volume.job(JOB.job).exists()


def test_program_of_an_import_that_was_deleted_while_it_was_made_is_not_kept(
    volume: Volume, digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_and_lose(*_: object) -> bytes:
        volume.checkpoint(SENT.job, SENT.file).unlink()
        return b"a program"

    with pytest.raises(ServiceError) as refusal:
        craft(volume, digest, monkeypatch, make_and_lose, SENT)
    assert refusal.value.code == ErrorCode.MODEL_NOT_FOUND
    assert files(exports_of(volume, SENT)) == []
