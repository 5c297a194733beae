"""The program as a `torch.export` archive (`.pt2`), which only torch can run.

Its images equal the service's bit for bit wherever oneDNN sums plain and packed layers in the same order
(`models/packing.py`).
"""

import io

import numpy as np
import torch
from numpy.typing import NDArray

from models.exports.description import KEY
from models.exports.exported import Exported
from models.networks.pair import Generator

MOST = 4096
"""The largest batch that the program declares to accept."""
ROUNDING = 1e-5
"""The tolerance for a different order of summation, for images in [-1, 1]."""


def make(generator: Generator, description: str) -> Exported:
    """Export the archive, and load it again to run it."""
    program = traced(generator)
    program.example_inputs = None  # otherwise the archive would contain it as a pickle
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={f"{KEY}.json": description})
    buffer.seek(0)
    loaded = torch.export.load(buffer).module()

    def run(latents: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            images: torch.Tensor = loaded(torch.from_numpy(latents))
            return images.numpy()

    return Exported(buffer.getvalue(), run, ROUNDING)


def traced(generator: Generator) -> torch.export.ExportedProgram:
    """Trace the generator for batches of 1 to `MOST`."""
    batch = torch.export.Dim("batch", min=1, max=MOST)
    example = torch.zeros(2, generator.latent_size)
    return torch.export.export(generator, (example,), dynamic_shapes=({0: batch},))
