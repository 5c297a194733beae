"""Generators trained for some steps on real pictures: neither weights nor statistics are the defaults."""

import io
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.training import TrainingSpec
from models.batches import Batches
from models.ema import served_generator
from models.environment import detect
from models.networks.pair import Generator
from models.state import TrainingState
from models.trainer import train
from tests.conftest import proof
from tests.specs import resolved

ARCHITECTURES = ("dcgan", "dcgan_fc", "resnet")
CLOTHES = Path(__file__).parents[1] / "examples" / "fashion-mnist-5k.zip"
PICTURES = 64
BATCH = 8
STEPS = proof(6, 24)


def spec_of(kind: str, width: int | None, resolution: int = 32, channels: int = 3) -> TrainingSpec:
    """A run of some steps; a width of None is the architecture's default."""
    widths = {} if width is None else {"generator_width": width}
    return resolved(
        {
            "dataset": "ds_" + "0" * 16,
            "preset": "fast",
            "name": None,
            "architecture": {"kind": kind, "discriminator_width": 4, **widths},
            "resolution": resolution,
            "channels": channels,
            "images": STEPS * BATCH,
            "batch_size": BATCH,
            "checkpoint_every_images": BATCH,
            "preview_every_images": BATCH,
        }
    )


@lru_cache(maxsize=1)
def trained(spec: TrainingSpec) -> Generator:
    """The generator that would be served after training on the first examples. Not to be changed."""
    state = TrainingState.fresh(spec, detect("cpu", 1, "float32"))
    for _ in train(state, Batches.of(spec, _pictures(spec), np.arange(PICTURES), "cpu")):
        pass
    assert state.images_seen == spec.images
    return served_generator(state)


def _pictures(spec: TrainingSpec) -> NDArray[np.uint8]:
    """Clothes (N, C, R, R)."""
    size = spec.resolution, spec.resolution
    with zipfile.ZipFile(CLOTHES) as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")][:PICTURES]
        opened = [Image.open(io.BytesIO(archive.read(name))) for name in names]
    resized = [np.asarray(one.convert("RGB").resize(size)) for one in opened]
    return np.ascontiguousarray(np.stack(resized).transpose(0, 3, 1, 2)[:, : spec.channels])
