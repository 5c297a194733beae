"""How often pictures repeat each other: the share of pairs of them that are nearly the same.

A generator that makes only k pictures, all equally often, repeats one in every k pairs, however far apart the
k are. This is the birthday paradox test of Arora and Zhang 2017 (arXiv 1706.08224), with all pairs counted.
"""

import torch
from torch import Tensor

from models.metrics.points import mean_pairwise_distance, squared_distances, taken

ALIKE = 0.2
"""Two pictures are nearly the same if they are nearer than this share of the mean distance between two.

So are 0.05 % of the pairs of clothes.
"""


def repeated(pictures: Tensor) -> float:
    """The share for pictures, given as features (N, F), by the mean distance between two of these themselves.

    By that between two reals, samples that are all less varied would seem to repeat each other. So a single
    picture with a little noise is not seen here, but by its `diversity`.

    Raises:
        ValueError: fewer than two, or some not finite.
    """
    points = taken(pictures, at_least=2)
    radius = ALIKE * mean_pairwise_distance(points)
    near = sum(int(torch.count_nonzero(some <= radius**2)) for some in squared_distances(points, points))
    return (near - len(points)) / (len(points) * (len(points) - 1))  # each is near itself
