"""The moving average of the generator, and the generator that is served from it.

The half-life is counted in images and grows with the run since it began, or began again, as in NVlabs'
StyleGAN2 code: an average over more than a small share of what has been learnt would hold on to the
beginning.
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


def keep(decay: float, average: nn.Module, network: nn.Module) -> None:
    """Let `average` keep the share `decay` of itself and take the rest from `network`. Parameters only."""
    kept: list[torch.Tensor] = list(average.parameters())
    with torch.no_grad():
        mix = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call] # one kernel for all of them
        mix(kept, [new.detach() for new in network.parameters()], 0)


def decay(halflife_images: float, batch_size: int) -> float:
    """The share that remains after one batch, if half remains after `halflife_images`; 0 for no average."""
    return 0.5 ** (batch_size / halflife_images) if halflife_images > 0 else 0.0


def ramped_halflife(halflife_images: int, images_seen: int) -> float:
    """The half-life in force when `images_seen` have made the networks what they are."""
    return min(float(halflife_images), images_seen * RAMP)


def served_generator(state: TrainingState) -> Generator:
    """The averaged generator in eval mode with batch-norm statistics of its own; the state is left alone.

    The running statistics of the training run belong to other weights. These are the means, over batches of
    latents, of what batch norm sees ("precise" statistics: Wu and Johnson 2021, arXiv 2105.07576, section 3).
    The latents are the same at every step, so the result is a function of the weights.
    """
    generator = copy.deepcopy(state.ema)
    if not _batch_norms(generator):
        return generator.eval()
    for layer in _batch_norms(generator):
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over the passes that follow
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
