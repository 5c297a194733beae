"""The floor of the distances: how far one half of the reals is from the other."""

from dataclasses import dataclass
from typing import Self

from torch import Tensor

from models.metrics.frechet import frechet_distance
from models.metrics.kernel import Estimate, kernel_distance


@dataclass(frozen=True)
class Floor:
    """The distances between the reals of even and of odd index, N / 2 of each."""

    frechet: float
    """Biased upwards, by about a constant over the number of images: with all N on both sides it would be
    about half of this. A generator judged by N / 2 fakes against N / 2 reals can at best come here."""
    kernel: Estimate
    """Unbiased: 0 but for chance, whatever N."""

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """The floor from the features (N, F) of reals in no meaningful order, N ≥ 8.

        Raises:
            ValueError: fewer than eight, or some not finite.
        """
        even, odd = features[::2], features[1::2]
        return cls(frechet_distance(even, odd), kernel_distance(even, odd))
