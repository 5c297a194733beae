"""How often fakes repeat each other: the share of pairs of fakes that are nearly the same picture.

A generator that makes only k pictures, all equally often, repeats one in every k pairs, however far apart the
k are. This is the birthday paradox test of Arora and Zhang 2017 (arXiv 1706.08224), with all pairs counted.
"""

import torch
from torch import Tensor

from models.metrics.points import mean_pairwise_distance, squared_distances, taken

ALIKE = 0.2
"""Two pictures are nearly the same if they are nearer than this share of the mean distance between two reals.

So are 0.04 % of the pairs of clothes, reals or samples of sound runs.
"""


def repeated(real: Tensor | float, fake: Tensor) -> float:
    """The share for reals, given as features (N, F) or as their mean pairwise distance, and fakes (M, F).

    Raises:
        ValueError: fewer than two of a kind, or some not finite.
    """
    usual = mean_pairwise_distance(real) if isinstance(real, Tensor) else real
    points = taken(fake, at_least=2)
    near = sum(
        int(torch.count_nonzero(some <= (ALIKE * usual) ** 2)) for some in squared_distances(points, points)
    )
    return (near - len(points)) / (len(points) * (len(points) - 1))  # each is near itself
