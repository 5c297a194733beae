"""A data root with one finished job, to have something to serve without training."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from contract.checkpoint import CheckpointHeader
from contract.job import CheckpointFact, State
from contract.training import TrainingSpec
from contract.volume import Volume, weights_name
from models import networks
from models.checkpoint import save_checkpoint
from models.networks.pair import Generator
from worker.facts import Facts, write_facts

JOB = "job_" + "0" * 16


@dataclass(frozen=True)
class Laid:
    """A generator on the volume."""

    digest: str
    path: Path
    resolution: int


def lay_generator(root: Path, resolution: int, seed: int = 0) -> Laid:
    """Store random weights of the default networks as a succeeded job would."""
    (laid,) = lay_generators(root, resolution, [seed])
    return laid


def lay_generators(root: Path, resolution: int, seeds: Sequence[int]) -> list[Laid]:
    """The same for several, one a seed, as checkpoints of one job.

    Their statistics and contrast give PNG files of realistic size: fresh weights would give nearly grey
    pictures, which are cheap to encode.
    """
    volume = Volume(root)
    spec = TrainingSpec(
        dataset="ds_" + "0" * 16,
        preset="fast",
        name=None,
        resolution=resolution,
        channels=3,
        images=len(seeds),
        checkpoint_every_images=1,
        preview_every_images=1,
    )
    laid = [_lay(volume, spec, images_seen, seed) for images_seen, seed in enumerate(seeds, start=1)]
    volume.spec(JOB).write_text(spec.model_dump_json())
    now = time.time()
    facts = Facts(
        state=State.SUCCEEDED,
        token=1,
        attempt=1,
        created_us=round(now * 1e6),
        started_ms=round(now * 1e3),
        finished_ms=round(now * 1e3),
        checkpoints=tuple(
            CheckpointFact(
                file=one.path.name, digest=one.digest, images_seen=images_seen, bytes=one.path.stat().st_size
            )
            for images_seen, one in enumerate(laid, start=1)
        ),
    )
    write_facts(volume, JOB, facts)
    return laid


def _lay(volume: Volume, spec: TrainingSpec, images_seen: int, seed: int) -> Laid:
    generator = networks.build(spec.architecture, spec.resolution, spec.channels).generator
    generator.initialise(seed)
    _enliven(generator)
    path = volume.checkpoint(JOB, weights_name(images_seen, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    header = CheckpointHeader(job=JOB, spec=spec, images_seen=images_seen)
    return Laid(save_checkpoint(generator, header, path), path, spec.resolution)


@torch.no_grad()
def _enliven(generator: Generator) -> None:
    """Set batch norm's statistics, and scale pixels to use the whole range. In place."""
    drawn = torch.randn(256, generator.latent_size)
    for module in generator.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # a plain average over all it sees
    contrast = generator.train()(drawn).atanh().std()
    *_, last = (one for one in generator.modules() if isinstance(one, torch.nn.ConvTranspose2d))
    last.weight.mul_(0.5 / contrast)
    generator.eval()
