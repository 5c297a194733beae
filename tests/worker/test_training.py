"""A trainer child's work, spoken to over a real link."""

import io
import zipfile
from collections.abc import Iterator
from multiprocessing import Pipe

import pytest
import torch
from PIL import Image

from contract.training import JobRequest, resolve
from contract.volume import Volume
from models import trainer
from models.datasets.archive import prepare
from worker import link, training
from worker.child import Chore
from worker.orders import TrainingOrder

DATASET, JOB = "ds_0123456789abcdef", "job_0123456789abcdef"


@pytest.fixture
def order(volume: Volume) -> TrainingOrder:
    """A tiny job on four grey squares."""
    volume.original(DATASET).parent.mkdir(parents=True)
    with zipfile.ZipFile(volume.original(DATASET), "w") as archive:
        for shade in (50, 100, 150, 200):
            picture = io.BytesIO()
            Image.new("L", (32, 32), shade).save(picture, "PNG")
            archive.writestr(f"{shade}.png", picture.getvalue())
    manifest = prepare(volume.original(DATASET), DATASET, volume, lambda *_: None)
    request = JobRequest.model_validate(
        {
            "dataset": DATASET,
            "images": 32,
            "batch_size": 4,
            "architecture": {
                "kind": "dcgan",
                "latent_size": 4,
                "generator_width": 4,
                "discriminator_width": 4,
            },
        }
    )
    spec = resolve(request, manifest)
    return TrainingOrder(
        job=JOB,
        token=1,
        spec=spec,
        data_root=volume.root,
        device="cpu",
        threads=1,
        snapshot_seconds=60,
        snapshot=None,
        checkpoints=(),
        environment=None,
    )


def carry_out(order: TrainingOrder) -> list[link.Message]:
    """Do the work in this process; everything it said."""
    supervisor, child = Pipe(duplex=True)
    training.train_job(order.model_dump_json(), Chore(child))
    child.close()
    said: list[link.Message] = []
    with pytest.raises(EOFError):
        while True:
            said.append(link.receive(supervisor))
    return said


def test_finished_work_has_told_its_environment_its_checkpoints_and_its_end(order: TrainingOrder) -> None:
    said = carry_out(order)
    assert isinstance(said[0], link.Computing)
    assert isinstance(said[-1], link.Finished)
    published = [message.checkpoint.images_seen for message in said if isinstance(message, link.Published)]
    assert published[-1] == 32


def test_checkpoint_that_is_known_is_not_made_again(order: TrainingOrder) -> None:
    first = [message.checkpoint for message in carry_out(order) if isinstance(message, link.Published)]
    again = carry_out(order.model_copy(update={"checkpoints": tuple(first)}))
    assert not [message for message in again if isinstance(message, link.Published)]


def test_run_that_diverges_fails_and_keeps_nothing(
    order: TrainingOrder, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: object) -> Iterator[trainer.Progress]:
        yield trainer.Progress(4, {"discriminator": torch.tensor(1.0), "generator": torch.tensor(torch.nan)})

    monkeypatch.setattr(trainer, "train", diverge)
    last = carry_out(order)[-1]
    assert isinstance(last, link.Failed)
    assert last.problem.code == "diverged"
    assert not volume.checkpoints(JOB).exists()


def test_resume_elsewhere_goes_on_and_says_so(order: TrainingOrder) -> None:
    computing = carry_out(order)[0]
    assert isinstance(computing, link.Computing)
    elsewhere = {**computing.environment, "threads": 7}
    told = carry_out(order.model_copy(update={"environment": elsewhere}))[0]
    assert isinstance(told, link.Computing)
    assert told.changed is not None
    assert "7t" in told.changed
