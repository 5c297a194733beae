"""Generators trained for a few real steps, so that their batch-norm statistics are not the defaults."""

import numpy as np

from contract.training import TrainingSpec
from models.batches import Batches
from models.ema import served_generator
from models.environment import detect
from models.networks.pair import Generator
from models.state import TrainingState
from models.trainer import train
from tests.specs import resolved

ARCHITECTURES = ("dcgan", "dcgan_fc", "resnet")
BATCH = 8
STEPS = 3


def spec_of(kind: str, width: int) -> TrainingSpec:
    """A run of a few steps in colour at 32 px."""
    return resolved(
        {
            "dataset": "ds_" + "0" * 16,
            "preset": "fast",
            "name": None,
            "architecture": {"kind": kind, "generator_width": width, "discriminator_width": 4},
            "resolution": 32,
            "channels": 3,
            "images": STEPS * BATCH,
            "batch_size": BATCH,
            "checkpoint_every_images": BATCH,
            "preview_every_images": BATCH,
        }
    )


def trained(spec: TrainingSpec) -> Generator:
    """The generator that would be served after training on pictures of noise."""
    pictures = np.random.default_rng(0).integers(0, 256, (BATCH, spec.channels, 32, 32), dtype=np.uint8)
    state = TrainingState.fresh(spec, detect("cpu", 1, "float32"))
    batches = Batches(
        pictures, np.arange(BATCH), batch_size=BATCH, seed=spec.seed, device="cpu", mirror=spec.mirror
    )
    for _ in train(state, batches):
        pass
    assert state.images_seen == spec.images
    return served_generator(state)
