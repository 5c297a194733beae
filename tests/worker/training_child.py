"""Runs the work of a trainer's child in this process, over a real link."""

import contextlib
import io
import itertools
import shutil
import threading
import zipfile
from collections.abc import Iterable
from functools import cache
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from contract.dataset import Manifest
from contract.training import JobRequest, resolve
from contract.volume import Volume
from models.datasets.archive import prepare
from worker import link, training
from worker.child import Chore, Work
from worker.orders import TrainingOrder

DATASET, JOB = "ds_0123456789abcdef", "job_0123456789abcdef"
CLOTHES = Path(__file__).parents[2] / "examples" / "fashion-mnist-5k.zip"
TINY = {"kind": "dcgan", "latent_size": 4, "generator_width": 4, "discriminator_width": 4}


def grey_squares() -> Iterable[bytes]:
    """Four pictures: too few for evaluations."""
    return (square(shade) for shade in (50, 100, 150, 200))


def square(shade: int, number: int = 0) -> bytes:
    """A grey picture; `number` changes its bytes, but not its pixels."""
    picture, text = io.BytesIO(), PngInfo()
    text.add_text("number", str(number))
    Image.new("L", (32, 32), shade).save(picture, "PNG", pnginfo=text)
    return picture.getvalue()


def clothes(count: int) -> Iterable[bytes]:
    """Real pictures of clothes."""
    with zipfile.ZipFile(CLOTHES) as archive:
        names = (name for name in archive.namelist() if name.endswith(".png"))
        yield from map(archive.read, itertools.islice(names, count))


def order_for(volume: Volume, pictures: Iterable[bytes], **request: object) -> TrainingOrder:
    """An order for a tiny job on these pictures."""
    volume.job(JOB).mkdir(parents=True)
    directory, manifest = _prepared(tuple(pictures))
    shutil.copytree(Volume(Path(directory.name)).dataset(DATASET), volume.dataset(DATASET))
    asked = {"dataset": DATASET, "images": 32, "batch_size": 4, "architecture": TINY} | request
    asked = {name: value for name, value in asked.items() if value is not None}  # None: the preset's value
    return TrainingOrder(
        job=JOB,
        token=1,
        spec=resolve(JobRequest.model_validate(asked), manifest),
        data_root=volume.root,
        device="cpu",
        threads=1,
        snapshot_seconds=60,
        snapshot=None,
        checkpoints=(),
    )


@cache
def _prepared(pictures: tuple[bytes, ...]) -> tuple[TemporaryDirectory[str], Manifest]:
    """A volume with the dataset of these pictures, decoded once for all orders; it is removed at the exit."""
    directory = TemporaryDirectory(prefix="dcgan-prepared-")
    volume = Volume(Path(directory.name))
    volume.lay_out()
    volume.original(DATASET).parent.mkdir(parents=True)
    with zipfile.ZipFile(volume.original(DATASET), "w") as archive:
        for index, picture in enumerate(pictures):
            archive.writestr(f"{index}.png", picture)
    return directory, prepare(volume.original(DATASET), DATASET, volume, lambda *_: None)


def carry_out(order: TrainingOrder, said: list[link.Message] | None = None) -> list[link.Message]:
    """Run a training and return its messages. They are also added to `said`, in case it raises."""
    return said_by(training.train_job, order.model_dump_json(), said)


def said_by(work: Work, order: str, said: list[link.Message] | None = None) -> list[link.Message]:
    """Run any child's work and return its messages."""
    supervisor, child = Pipe(duplex=True)
    said = [] if said is None else said
    ear = threading.Thread(target=_hear, args=(supervisor, said))
    ear.start()
    try:
        work(order, Chore(child))
    finally:
        child.close()
        ear.join()
    return said


def _hear(supervisor: Connection, said: list[link.Message]) -> None:
    with contextlib.suppress(EOFError):
        while True:
            said.append(link.receive(supervisor))
