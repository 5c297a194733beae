"""Standalone programs exported from a generator, each checked against what the service renders in float32."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from contract.workshop import Program
from models import priors
from models.checkpoint import load_checkpoint
from models.environment import detect
from models.exports import onnx, torch_export
from models.exports.description import describe
from models.exports.exported import Exported
from models.inference import for_inference
from models.latents import latents
from models.networks.pair import Generator
from models.sampler import Sampler

MAKERS: Mapping[Program, Callable[[Generator, str], Exported]] = {
    "onnx": onnx.make,
    "torch-export": torch_export.make,
}
ODD = 3
"""A batch size that is not a power of two, to check that the batch dimension is dynamic."""


def make(program: Program, path: Path, digest: str) -> bytes:
    """Export a program that maps latents (N, Z) to images (N, C, R, R) in [-1, 1], in float32, for any N.

    Raises:
        ServiceError: `checkpoint_unreadable`; `export_unavailable` when a package is not installed.
        RuntimeError: its images differ from those of the service in float32.
    """
    environment = detect("cpu", 1, "float32")
    environment.apply()
    generator, header = load_checkpoint(path, digest)
    served = Sampler(generator, header, environment)
    exported = MAKERS[program](
        for_inference(generator, environment), describe(header, digest, generator.latent_size)
    )
    size, prior = header.spec.architecture.latent_size, priors.build(header.spec.prior)
    for count in (served.buckets[-1], ODD):
        seeds = range(count)
        apart = np.abs(exported.run(latents(seeds, size, prior)) - served.render_floats(seeds)).max()
        if not apart <= exported.tolerance:
            raise RuntimeError(f"its images differ by {apart:g} from those of the service in float32")
    return exported.content
