"""Adversarial accuracy: how often the discriminator is right about held-out reals and about fakes.

The game's equilibrium is one half for both (Goodfellow et al. 2014, arXiv 1406.2661, theorem 1); if both are
near 1, the discriminator has won. Scores that are not logits, such as a critic's, are converted to
probabilities by Platt scaling (Platt 1999, "Probabilistic outputs for support vector machines"), with
smoothed targets and halved Newton steps as in Lin, Lin and Weng (2007, Machine Learning 68, 267-276).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

STEPS = 100
SETTLED = 1e-10


@dataclass(frozen=True)
class Accuracy:
    """The shares judged correctly; a score exactly at the threshold counts as half correct."""

    real: float
    fake: float
    calibrated: bool
    """Whether scores were calibrated by Platt scaling, so that only the odd-indexed ones were judged."""
    reals: int
    """How many were judged."""
    fakes: int


def adversarial_accuracy(
    real_scores: Tensor, fake_scores: Tensor, *, scores_are_logits: bool, threshold: float = 0.5
) -> Accuracy:
    """How often scores (N,) of held-out reals and (M,) of fakes are right at a probability threshold.

    Scores that are not logits are calibrated on the even-indexed ones and judged on the odd-indexed ones, so
    that no score is judged by a fit to itself; this needs N, M ≥ 2. Both kinds have the same weight in the
    fit, whatever N and M. A higher score always means more real: scores to be calibrated that rank the other
    way round, or not at all, give one half of each, whatever the threshold.

    Raises:
        ValueError: too few of a kind, or some not finite.
    """
    assert 0 < threshold < 1
    real = _taken(real_scores, at_least=1 if scores_are_logits else 2)
    fake = _taken(fake_scores, at_least=1 if scores_are_logits else 2)
    if not scores_are_logits:
        fitted = _platt(real[::2], fake[::2])
        real, fake = real[1::2], fake[1::2]
        if fitted is None:
            return Accuracy(0.5, 0.5, calibrated=True, reals=len(real), fakes=len(fake))
        slope, intercept = fitted
        real, fake = slope * real + intercept, slope * fake + intercept
    limit = math.log(threshold / (1 - threshold))
    return Accuracy(
        real=_share_above(real, limit),
        fake=1 - _share_above(fake, limit),
        calibrated=not scores_are_logits,
        reals=len(real),
        fakes=len(fake),
    )


def _taken(scores: Tensor, at_least: int) -> Tensor:
    if scores.ndim != 1 or len(scores) < at_least:
        raise ValueError(f"Scores {tuple(scores.shape)} are not (N,) with N of {at_least} or more.")
    if not scores.isfinite().all():
        raise ValueError(f"Scores {tuple(scores.shape)} hold numbers that are not finite.")
    return scores.detach().to(device="cpu", dtype=torch.float64)


def _share_above(logits: Tensor, limit: float) -> float:
    return float((logits > limit).double().mean() + (logits == limit).double().mean() / 2)


def _platt(real: Tensor, fake: Tensor) -> tuple[float, float] | None:
    """The slope and intercept that turn scores into logits; None if higher scores do not mean more real."""
    scores = torch.cat([real, fake])
    mean, deviation = float(scores.mean()), float(scores.std(correction=0))
    if deviation <= 1e-12 * abs(mean):
        return None
    targets = torch.cat(
        [torch.full_like(real, (len(real) + 1) / (len(real) + 2)), torch.full_like(fake, 1 / (len(fake) + 2))]
    )
    weights = torch.cat([torch.full_like(real, 0.5 / len(real)), torch.full_like(fake, 0.5 / len(fake))])
    slope, intercept = _minimum((scores - mean) / deviation, targets, weights).tolist()
    return (slope / deviation, intercept - slope * mean / deviation) if slope > 0 else None


def _minimum(scores: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The slope and intercept (2,) that minimise the weighted cross-entropy, which is convex."""
    given = torch.stack([scores, torch.ones_like(scores)], 1)  # (n, 2)
    found = scores.new_zeros(2)
    for _ in range(STEPS):
        probabilities = (given @ found).sigmoid()
        gradient = given.T @ (weights * (probabilities - targets))  # (2,)
        if float(gradient.abs().max()) < SETTLED:
            break
        curvature = (given.T * (weights * probabilities * (1 - probabilities))) @ given
        step = torch.linalg.solve(curvature + 1e-12 * torch.eye(2, dtype=torch.float64), gradient)
        found = _descended(found, step, gradient, given, targets, weights)
    return found


def _descended(
    found: Tensor, step: Tensor, gradient: Tensor, given: Tensor, targets: Tensor, weights: Tensor
) -> Tensor:
    """Take one Newton step, halved until it lowers the cross-entropy enough; no step if none does."""

    def loss(at: Tensor) -> float:
        logits = given @ at
        return float((weights * (functional.softplus(logits) - targets * logits)).sum())

    before, slope = loss(found), float(gradient @ step)
    for halvings in range(40):
        share = 0.5**halvings
        if loss(found - share * step) <= before - 1e-4 * share * slope:
            return found - share * step
    return found
