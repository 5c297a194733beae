"""The program as `torch.export` writes it: a `.pt2` archive, which torch alone runs.

It has the service's bits wherever oneDNN sums alike in a layer and in a packed one (`models/packing.py`).
"""

import io

import numpy as np
import torch
from numpy.typing import NDArray

from models.exports.description import KEY
from models.exports.exported import Exported
from models.networks.pair import Generator

MOST = 4096
"""The largest batch that the program says it takes."""
ROUNDING = 1e-5
"""Of sums in another order, in [-1, 1]."""


def make(generator: Generator, description: str) -> Exported:
    """The archive, and what it does when it is loaded."""
    program = traced(generator)
    program.example_inputs = None  # or it would be in the archive as a pickle
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
    """For every batch from 1 on."""
    batch = torch.export.Dim("batch", min=1, max=MOST)
    example = torch.zeros(2, generator.latent_size)
    return torch.export.export(generator, (example,), dynamic_shapes=({0: batch},))
