"""What nearest neighbours tell of features: fidelity, variety, and whether images were learnt by heart.

Precision and recall: Kynkäänniemi et al. 2019 (arXiv 1904.06991), equations 1 and 2, with 3 neighbours.
Density and coverage: Naeem et al. 2020 (arXiv 2002.09797), section 3, with 5.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from models.metrics.points import ROWS, squared_distances, taken

PRECISION_NEIGHBOURS = 3
DENSITY_NEIGHBOURS = 5
COMMON = 0.05
"""The share of new reals that count as near: what `memorised` is expected to be of an honest generator."""

DOUBLE = 0.002
"""The share of the mean squared distance of two reals below which they may be one, sent twice."""
FEW = 4
"""They are, if so many are that near at most: sent three times and seen in two views. More are a kind."""


@dataclass(frozen=True, eq=False)
class Balls:
    """Points and how far their neighbours are; those of the reference are computed once."""

    points: Tensor
    """(N, F), float64."""
    narrow: Tensor
    """(N,), the squared distance to the third neighbour."""
    wide: Tensor
    """(N,), to the fifth."""

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """The balls around features (N, F), N ≥ 6.

        Raises:
            ValueError: fewer than six, or some not finite.
        """
        points = taken(features, at_least=DENSITY_NEIGHBOURS + 1)
        nearest = torch.cat(
            [
                some.topk(DENSITY_NEIGHBOURS + 1, largest=False).values  # the first is the point itself
                for some in squared_distances(points, points)
            ]
        )
        return cls(points, nearest[:, PRECISION_NEIGHBOURS], nearest[:, DENSITY_NEIGHBOURS])


@dataclass(frozen=True)
class Support:
    """How the supports of reals and fakes lie over each other. Balls reach to a point's k-th neighbour."""

    precision: float
    """The share of fakes within the ball of some real; 1 is best."""
    recall: float
    """The share of reals within the ball of some fake; 1 is best."""
    density: float
    """Balls of reals that a fake lies in, over k: near 1 for equals, above it where fakes crowd at modes."""
    coverage: float
    """The share of reals with a fake in their ball; 1 − 2^−k, 0.97, for equals of equal number."""


def support(real: Tensor | Balls, fake: Tensor | Balls) -> Support:
    """All four, of features (N, F) and (M, F), N and M ≥ 6.

    Raises:
        ValueError: fewer than six of a kind, or some not finite.
    """
    reals, fakes = _balls(real), _balls(fake)
    precise, holding = 0, 0
    recalled, covered = torch.zeros(2, len(reals.points), dtype=torch.bool)
    reach = torch.split(fakes.narrow[:, None], ROWS)
    for some, own in zip(squared_distances(fakes.points, reals.points), reach, strict=True):  # (m, N), (m, 1)
        within = some <= reals.wide
        precise += int((some <= reals.narrow).any(1).sum())
        holding += int(within.sum())
        covered |= within.any(0)
        recalled |= (some <= own).any(0)
    return Support(
        precision=precise / len(fakes.points),
        recall=float(recalled.double().mean()),
        density=holding / (DENSITY_NEIGHBOURS * len(fakes.points)),
        coverage=float(covered.double().mean()),
    )


@dataclass(frozen=True, eq=False)
class Known:
    """The training images, and how near to one of them is nearer than nearly all new reals are."""

    points: Tensor
    """(V T, F), float64."""
    near: float
    """The k-th smallest squared distance of N new reals to their nearest, k = 0.05 (N + 1)."""

    @classmethod
    def of(cls, training: Tensor, held_out: Tensor | None = None) -> Self:
        """What is known from training images in each of their views (V, T, F), and from new reals (N, F).

        Views are what else is trained on of an image, such as its mirror image. Without new reals each
        training image stands in for one, compared with the others. A real that is double, sent twice with
        other names or sizes, is compared with what else there is: its double is no measure of what is new.

        Raises:
            ValueError: no new real, or no second training image in place of them, or some not finite.
        """
        points = taken(training.flatten(0, 1), at_least=1 if held_out is not None else 2)
        double = DOUBLE * 2 * float((points - points.mean(0)).square().sum(1).mean())
        usual = (
            _to_nearest(taken(held_out, at_least=1), points, double=double)  # (N,)
            if held_out is not None
            else _to_nearest_other(points, training.shape[1], double=double)  # (T,)
        )
        usual = usual[usual.isfinite()]  # nothing is left where a few images are one
        rank = max(1, round(COMMON * (len(usual) + 1)))
        return cls(points, float(usual.kthvalue(rank).values) if len(usual) else 0.0)


def memorised(fake: Tensor, known: Known) -> float:
    """The share of fakes (M, F), M ≥ 1, that are nearer to a training image than nearly all new reals.

    The three sets are those of the data-copying test of Meehan et al. 2020 (arXiv 2004.05675). It is expected
    to be 0.05 where fakes are as new as new reals (with N < 19 of these, 1 / (N + 1)), and 1 where all are
    copies. Blurred fakes lie far from everything: a small value alone is no praise.

    Raises:
        ValueError: none, or some not finite.
    """
    nearest = _to_nearest(taken(fake, at_least=1), known.points)
    return float((nearest <= known.near).double().mean())


def _balls(given: Tensor | Balls) -> Balls:
    return given if isinstance(given, Balls) else Balls.of(given)


def _to_nearest(points: Tensor, known: Tensor, *, double: float = -1.0) -> Tensor:
    """The squared distance of each to the nearest but doubles, within `double`; infinite if none is left."""
    return torch.cat([_nearest(some, double) for some in squared_distances(points, known)])


def _nearest(distances: Tensor, double: float) -> Tensor:
    near = distances <= double
    doubles = near & (near.sum(1, keepdim=True) <= FEW)
    return distances.masked_fill_(doubles, torch.inf).amin(1)


def _to_nearest_other(points: Tensor, images: int, *, double: float) -> Tensor:
    """The same, of each image's first view to the nearest view of another, of (V T, F): (T,)."""
    rows, columns = torch.split(torch.arange(images), ROWS), torch.arange(len(points)) % images
    distances = squared_distances(points[:images], points)
    return torch.cat(
        [
            _nearest(some.masked_fill_(own[:, None] == columns, torch.inf), double)
            for own, some in zip(rows, distances, strict=True)
        ]
    )
