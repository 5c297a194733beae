"""How varied the fakes are: the ratio of their mean pairwise distance to that of the reals.

This is LPIPS diversity (Zhu et al. 2017, arXiv 1711.11586), but in features of whole images, and relative, so
that it means the same for every dataset.
"""

from torch import Tensor

from models.metrics.points import mean_pairwise_distance


def diversity(real: Tensor | float, fake: Tensor) -> float:
    """The ratio for reals, given as features (N, F) or as their mean pairwise distance, and fakes (M, F).

    1 means as varied as the reals, 0 means all the same.

    Raises:
        ValueError: fewer than two of a kind, some not finite, or the reals are all the same.
    """
    usual = mean_pairwise_distance(real) if isinstance(real, Tensor) else real
    if not usual > 0:
        raise ValueError(f"The reals are {usual} apart in the mean: nothing is as varied as they are.")
    return mean_pairwise_distance(fake) / usual
