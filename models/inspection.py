"""Validates an uploaded checkpoint: trusts nothing in it, and executes nothing."""

from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from contract.devices import Precision
from contract.errors import ErrorCode, ServiceError
from models import networks, priors
from models.checkpoint import MalformedError, is_counter, load_checkpoint, parse_checkpoint, read_content
from models.environment import detect
from models.inference import for_inference
from models.largest_batch import largest_batch
from models.latents import latents
from models.networks.pair import Generator

PROBES = 64
"""How many images must be finite: those that a sampler looks at, too, when it loads a generator."""


def inspect(path: Path, digest: str) -> None:
    """Check that a checkpoint can be served.

    Compares its tensors with those of the network in its header before allocating any of that network.

    Raises:
        ServiceError: `not_a_checkpoint` with the reason, or `checkpoint_unreadable` if the file does not have
            this digest or cannot be read.
    """
    try:
        header, tensors = parse_checkpoint(read_content(path, digest))
    except MalformedError as error:
        raise _refused(str(error)) from error
    spec = header.spec
    expected = networks.sketch(spec.architecture, spec.resolution, spec.channels).generator.state_dict()
    served = {name: one for name, one in expected.items() if not is_counter(name)}
    if wrong := sorted(served.keys() ^ tensors.keys()):
        raise _refused(
            f"the tensor {wrong[0]!r} is {'missing' if wrong[0] in served else 'not of its network'}"
        )
    for name, tensor in tensors.items():
        like = served[name]
        if (tensor.shape, tensor.dtype) != (like.shape, like.dtype):
            found = f"{tensor.dtype} {tuple(tensor.shape)}, not {like.dtype} {tuple(like.shape)}"
            raise _refused(f"the tensor {name!r} is {found}")
        if not torch.isfinite(tensor).all():
            raise _refused(f"the tensor {name!r} holds numbers that are not finite")
    generator, _ = load_checkpoint(path, digest)
    seeds = range(largest_batch(spec, PROBES))
    drawn = torch.from_numpy(latents(seeds, generator.latent_size, priors.build(spec.prior)))
    for precision in get_args(Precision):
        if not _gives_finite_images(generator, precision, drawn):
            raise _refused(f"its images are not finite in {precision}")


def _gives_finite_images(generator: Generator, precision: Precision, drawn: Tensor) -> bool:
    """Whether all weights and images are finite with batch norm folded and weights rounded to this precision.

    The images are computed in float32, whose range is the same: without units, bfloat16 takes minutes.
    """
    environment = detect("cpu", 1, "float32")
    environment.apply()
    rounded = for_inference(generator, environment, precision).float()
    with torch.inference_mode():
        return all(torch.isfinite(one).all() for one in (*rounded.state_dict().values(), rounded(drawn)))


def _refused(why: str) -> ServiceError:
    return ServiceError(ErrorCode.NOT_A_CHECKPOINT, f"The file is no generator that can be served: {why}.")
