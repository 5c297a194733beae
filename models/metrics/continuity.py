"""How images change along latent paths: evenly, or in jumps from one learnt image to the next.

Length: the steps of perceptual path length (Karras et al. 2019, arXiv 1812.04948, section 4.1), but summed
over whole paths instead of squared. Smoothness: how even the steps are, which Guo et al. 2023 (arXiv
2312.04410) measure by their standard deviation; the ratio used here has no unit and a known best and worst.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.metrics.points import taken


@dataclass(frozen=True)
class Continuity:
    """Compare only paths with the same number of points: a finer path is longer and has smaller jumps."""

    length: float
    """In units of `scale`. Independent ends lie about 1 apart, so 1 is a straight line; an arc through normal
    latents has π / (2√2) = 1.11 under a linear generator. About 1.1 to 2 is good, 0 is collapse, and the
    further above 2, the more the path strays."""
    smoothness: float
    """Mean step over largest step: 1 at constant speed, 1 / (T − 1) if all change is one jump. Above about
    0.5 is good. A path without any change has 1."""


def continuity(path_features: Tensor, scale: float) -> Continuity:
    """Means over P paths of features (P, T, F), T ≥ 3; `scale` is the reals' mean pairwise distance.

    Raises:
        ValueError: no path, fewer than three points, some not finite, or a scale that is not positive.
    """
    if path_features.ndim != 3 or path_features.shape[1] < 3:
        raise ValueError(f"Paths {tuple(path_features.shape)} are not (P, T, F) with T of 3 or more.")
    if not scale > 0:
        raise ValueError(f"The scale {scale} is not positive.")
    points = taken(path_features.flatten(0, 1), at_least=3).reshape(path_features.shape)
    steps = points.diff(dim=1).norm(dim=2)  # (P, T - 1)
    mean, largest = steps.mean(1), steps.amax(1)
    smoothness = torch.where(largest > 0, mean / largest, 1.0)
    return Continuity(float(steps.sum(1).mean()) / scale, float(smoothness.mean()))
