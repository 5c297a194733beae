"""The floor of the distances: the distance of one half of the reals from the other."""

from dataclasses import dataclass
from typing import Self

from torch import Tensor

from models.metrics.frechet import frechet_distance
from models.metrics.kernel import Estimate, kernel_distance


@dataclass(frozen=True)
class Floor:
    """The distances between the even-indexed and the odd-indexed reals, N / 2 of each."""

    frechet: float
    """Biased upwards, by about a constant over the number of images: with all N on both sides it would be
    about half of this. It is the best that N / 2 fakes can reach against N / 2 reals."""
    kernel: Estimate
    """Unbiased: 0 apart from noise, whatever N."""

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """The floor from the features (N, F) of reals, N ≥ 8, in no meaningful order.

        Raises:
            ValueError: fewer than eight, or some not finite.
        """
        even, odd = features[::2], features[1::2]
        return cls(frechet_distance(even, odd), kernel_distance(even, odd))
