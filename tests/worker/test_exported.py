"""An exported program gives the numbers that a sampler answers with for `precision=float32`."""

import io
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from contract.sampling import SamplePrecision
from contract.volume import Volume
from models import exports
from models.inference import rendering_environment
from models.latents import latents
from models.priors import build
from tests.worker.asking import PLACE, SPEC, Gateway, save_generator
from worker.engine import Engine
from worker.sampling import SampleConsumer

COUNT = 5
SIZE = SPEC.architecture.latent_size


def answered(gateway: Gateway, precision: SamplePrecision) -> NDArray[np.float32]:
    """The numbers (N, R, R, C) of the first seeds, as a sampler sends them."""
    gateway.push(gateway.ask(0, COUNT, format="npz", precision=precision))
    numbers: NDArray[np.float32] = np.load(io.BytesIO(gateway.answers(1)[0].content))["numbers"]
    return numbers


def test_program_gives_what_a_sampler_sends_for_float32(
    redis_url: str, volume: Volume, start: Callable[[Engine], SampleConsumer]
) -> None:
    digest = save_generator(volume)
    program = exports.make("torch-export", volume.checkpoint(PLACE.job, PLACE.file), digest)
    run = torch.export.load(io.BytesIO(program)).module()
    drawn = torch.from_numpy(latents(range(COUNT), SIZE, build(SPEC.prior)))
    with torch.inference_mode():
        images = run(drawn).permute(0, 2, 3, 1).numpy()
    fastest = rendering_environment("cpu", 1)
    start(Engine(volume, fastest, 2**30))
    gateway = Gateway(redis_url, digest)
    assert np.abs(answered(gateway, "float32") - images).max() < 1e-5
    is_the_same = np.array_equal(answered(gateway, "auto"), answered(gateway, "float32"))
    assert is_the_same == (fastest.precision == "float32")
