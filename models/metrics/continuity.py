"""How images change along latent paths: evenly, or in jumps from one learnt image to the next.

Length: the steps of perceptual path length (Karras et al. 2019, arXiv 1812.04948, section 4.1), but added up
rather than squared, over whole paths. Smoothness: how even they are, which Guo et al. 2023 (arXiv 2312.04410)
measure by their standard deviation; the ratio here has no unit, and knows its best and its worst.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.metrics.points import taken


@dataclass(frozen=True)
class Continuity:
    """Compare only those of paths with as many points: a finer path is a longer one with smaller jumps."""

    length: float
    """In units of `scale`. Ends of independent paths lie about 1 apart, so 1 is straight; an arc across
    normal latents has π / (2√2) = 1.11 under a linear generator. Some 1.1 to 2 is good; 0 is collapse, and
    the more above 2, the more the path goes astray."""
    smoothness: float
    """Mean step over largest step: 1 at constant speed, 1 / (T − 1) if all happens in one jump. Above some
    0.5 is good. A path that does not move at all has 1."""


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
