"""Small checkpoints of every family, with batch-norm statistics as after training."""

from pathlib import Path

import torch

from contract.checkpoint import CheckpointHeader
from contract.training import TrainingSpec
from models import networks
from models.checkpoint import save_checkpoint

KINDS = ("dcgan", "dcgan_fc", "resnet")


def spec(kind: str = "dcgan", **more: object) -> TrainingSpec:
    """A tiny spec: 32 px, grey."""
    small = {"kind": kind, "latent_size": 8, "generator_width": 4, "discriminator_width": 4}
    return TrainingSpec.model_validate(
        {
            "dataset": "ds_" + "0" * 16,
            "preset": "fast",
            "name": None,
            "architecture": small,
            "resolution": 32,
            "channels": 1,
            "checkpoint_every_images": 8,
            "preview_every_images": 8,
            **more,
        }
    )


def generator(kind: str = "dcgan") -> networks.pair.Generator:
    made = networks.build(spec(kind).architecture, 32, 1).generator
    made.initialise(0)
    chance = torch.Generator().manual_seed(0)
    for name, tensor in made.state_dict().items():
        if name.endswith("running_mean"):
            tensor.copy_(torch.randn(tensor.shape, generator=chance) * 0.1)
        elif name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=chance) + 0.5)
    return made


def write(path: Path, kind: str = "dcgan") -> tuple[Path, str]:
    """Write a checkpoint and return its path and digest."""
    header = CheckpointHeader(job="job_" + "0" * 16, spec=spec(kind), images_seen=0)
    return path, save_checkpoint(generator(kind), header, path)
