"""A worker without the devices that its settings name takes no work, and fails no job."""

import os
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
import torch
from redis.exceptions import ConnectionError as Away

from contract.command import Command
from contract.configuration import EXIT_CODE
from contract.job import Record, State
from contract.volume import Volume
from models.environment import detect
from tests.conftest import proof
from tests.worker.owner import Worker
from tests.worker.training_child import carry_out, grey_squares, order_for
from worker import devices
from worker.child import Chore, UnfitError
from worker.devices import detected, find_devices
from worker.facts import Facts
from worker.link import Place
from worker.orders import DeviceOrder, ForeignSpecError
from worker.store import Store

ROOT = Path(__file__).parents[2]
FIRST, SECOND = "job_0000000000000001", "job_0000000000000002"


ONE_GPU = "import torch; torch.cuda.is_available = lambda: True; torch.cuda.device_count = lambda: 1"


def started(role: str, settings: Mapping[str, str], *paths: Path) -> subprocess.CompletedProcess[str]:
    """A worker that ended at its start."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "worker", "--role", role],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*paths, ROOT))), **settings},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("role", ["sample", "train"][: proof(1, 2)])
def test_worker_told_to_use_a_gpu_ends_at_its_start_where_there_is_none(role: str, volume: Volume) -> None:
    settings = {"DCGAN_DEVICE": "cuda", "DCGAN_DATA_ROOT": str(volume.root), "CUDA_VISIBLE_DEVICES": ""}
    ended = started(role, settings)
    assert ended.returncode == EXIT_CODE
    assert ended.stderr == ""
    assert "DCGAN_DEVICE=cuda: " in ended.stdout.splitlines()[-1]


def test_trainer_told_to_use_two_gpus_ends_at_its_start_where_there_is_one(
    volume: Volume, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(ONE_GPU)  # every process imports it
    ended = started("train", {"DCGAN_DEVICES": "2", "DCGAN_DATA_ROOT": str(volume.root)}, tmp_path)
    assert ended.returncode == EXIT_CODE
    assert "DCGAN_DEVICES: 2 GPUs are needed, and torch finds 1" in ended.stdout.splitlines()[-1]


def test_worker_with_fewer_gpus_than_its_settings_say_is_unfit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UnfitError, match="DCGAN_DEVICES: 4 GPUs are needed, and torch finds 2"):
        detected("auto", 1, "auto", Place(ranks=4))


@pytest.mark.parametrize("rank", [0, 1])
def test_worker_with_a_gpu_that_does_not_compute_is_unfit(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    """Torch's device "meta" allocates, too, and cannot compute."""
    chosen: list[int] = []
    sound = detect("cpu", 1, "float32")
    broken = sound.model_copy(update={"device": "meta"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(devices, "detect", lambda *_: broken if chosen[-1] == rank else sound)
    ours, theirs = Pipe()
    with ours, theirs, pytest.raises(UnfitError, match=r"DCGAN_DEVICE=auto: .*meta"):
        find_devices(DeviceOrder(device="auto", devices=2).model_dump_json(), Chore(theirs))
    assert chosen[-1] == rank


def test_training_without_its_gpu_is_the_workers_fault(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # as after it was lost
    order = order_for(volume, grey_squares()).model_copy(update={"device": "cuda"})
    with pytest.raises(UnfitError, match="DCGAN_DEVICE=cuda"):
        carry_out(order)


def _returned(worker: Worker) -> tuple[State, int]:
    record = worker.records.read(FIRST)
    return record.state, record.deaths


def test_job_for_which_a_worker_is_unfit_is_returned_without_counting_a_death(worker: Worker) -> None:
    worker.submit(FIRST, SECOND)
    worker.start("be_unfit", max_deaths=1)
    worker.finish()
    assert _returned(worker) == (State.QUEUED, 0)
    assert worker.events(FIRST)[-1]["reason"] == "no GPU"
    assert worker.records.read(SECOND).attempt == 0  # one record per bell


@pytest.mark.parametrize("trouble", ["device", "order", "spec", "facts"])
def test_job_is_returned_without_counting_a_death_even_if_redis_is_away_at_that_moment(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    run, outages = Store.run, iter([Away()])

    def run_but_once(store: Store, command: Command[Any]) -> object:
        if command.arguments[1] == "leave" and (outage := next(outages, None)):
            raise outage
        return run(store, command)

    def write_order(*_: object) -> tuple[str, str]:
        if trouble == "order":
            raise ValueError("out of range")
        if trouble == "spec":
            raise ForeignSpecError
        return "tests.worker.small_work:be_unfit", ""

    monkeypatch.setattr(Store, "run", run_but_once)
    worker.submit(FIRST)
    if trouble == "facts":
        worker.volume.facts(FIRST, 0).mkdir()
    worker.start("", write_order, max_deaths=1)
    worker.finish()
    assert next(outages, None) is None
    assert _returned(worker) == (State.QUEUED, 0)


def test_job_whose_order_cannot_be_written_is_returned_and_does_not_block_the_next(worker: Worker) -> None:
    def refuse_the_first(record: Record, _: Facts) -> tuple[str, str]:
        if record.id == FIRST:
            raise ValueError("out of range")
        return "tests.worker.small_work:finish", ""

    worker.submit(FIRST, SECOND)
    worker.start("finish", refuse_the_first, max_deaths=1)
    worker.finish()
    worker.ring()
    worker.finish()
    assert worker.records.read(SECOND).state is State.SUCCEEDED
    assert _returned(worker) == (State.QUEUED, 0)
    assert "ValueError: out of range" in worker.events(FIRST)[-1]["reason"]
