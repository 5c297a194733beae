"""Previews: a sheet of images from the same latents throughout a run, to make progress visible."""

import io

import torch
from PIL import Image

from contract.training import TrainingSpec
from models import priors
from models.environment import NumericEnvironment
from models.inference import for_inference
from models.latents import latents
from models.networks.pair import Generator
from models.pixels import to_pixels
from models.sheet import sheet


def preview(
    generator: Generator, spec: TrainingSpec, environment: NumericEnvironment, *, count: int = 64
) -> bytes:
    """A PNG of seeds 0 … count − 1, row by row, with the same latents as in sampling."""
    drawn = torch.from_numpy(latents(range(count), generator.latent_size, priors.build(spec.prior)))
    with torch.inference_mode():
        images = for_inference(generator, environment)(drawn.to(environment.device))  # (N, C, R, R)
        tiles = to_pixels(images).permute(0, 2, 3, 1).cpu().numpy()  # (N, R, R, C)
    file = io.BytesIO()
    Image.fromarray(sheet(tiles)).save(file, "PNG")
    return file.getvalue()
