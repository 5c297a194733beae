"""The moving average of the generator, and the generator that is served from it.

The half-life is counted in images and grows with the images since the run's start, or last restart, as in
NVlabs' StyleGAN2 code: an average over more than a small share of them would retain the initial weights.
"""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from models import priors
from models.latents import noise
from models.networks.pair import Generator
from models.state import TrainingState

RAMP = 0.05
"""The half-life is never longer than this share of the images seen."""

STATISTICS_BATCHES = 8
STATISTICS_BATCH = 64
"""Latents over which the served generator's batch-norm statistics are taken: 8 × 64."""


def update(average: nn.Module, network: nn.Module, *, decay: float) -> None:
    """Update `average` to `decay` × itself plus the rest from `network`. Parameters only."""
    kept: list[torch.Tensor] = list(average.parameters())
    with torch.no_grad():
        mix = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call] # one kernel for all of them
        mix(kept, [new.detach() for new in network.parameters()], 0)


def decay_per_batch(halflife_images: float, batch_size: int) -> float:
    """The share that remains after one batch, if half remains after `halflife_images`; 0 for no average."""
    return 0.5 ** (batch_size / halflife_images) if halflife_images > 0 else 0.0


def ramped_halflife(halflife_images: int, images_seen: int) -> float:
    """The half-life after the networks have been trained on `images_seen` images."""
    return min(float(halflife_images), images_seen * RAMP)


def served_generator(state: TrainingState) -> Generator:
    """The averaged generator in eval mode with its own batch-norm statistics. Does not change the state.

    The running statistics of training belong to other weights. These are means over batches of latents
    ("precise" statistics: Wu and Johnson 2021, arXiv 2105.07576, section 3). The latents are always the same,
    so the result is a function of the weights.
    """
    generator = copy.deepcopy(state.ema)
    if not _batch_norms(generator):
        return generator.eval()
    for layer in _batch_norms(generator):
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over the following passes
    prior = priors.build(state.spec.prior)
    with torch.no_grad(), state.environment.autocast():
        for index in range(STATISTICS_BATCHES):
            drawn = noise(
                state.spec.seed, "statistics", index, STATISTICS_BATCH, generator.latent_size, prior
            )
            generator(torch.from_numpy(drawn).to(state.environment.device))
    return generator.eval()


def _batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
