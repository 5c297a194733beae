"""Metrics from nearest neighbours of features: fidelity, variety, and memorisation of training images.

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
"""The share of new reals that count as near: the expected `memorised` of a generator that does not copy."""

DOUBLE = 0.002
"""Two reals may be duplicates if their squared distance is below this share of the mean squared distance."""
FEW = 4
"""They are duplicates only if at most this many are that near, as for an image sent three times and seen in
two views. More are a common kind of image."""


@dataclass(frozen=True, eq=False)
class Balls:
    """Points and the distances to their neighbours; for the reference they are computed once."""

    points: Tensor
    """(N, F), float64."""
    narrow: Tensor
    """(N,), the squared distance to the third neighbour."""
    wide: Tensor
    """(N,), the squared distance to the fifth neighbour."""

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
    """How the supports of reals and fakes overlap. A point's ball reaches to its k-th neighbour."""

    precision: float
    """The share of fakes within the ball of some real; 1 is best."""
    recall: float
    """The share of reals within the ball of some fake; 1 is best."""
    density: float
    """Mean number of real balls that contain a fake, over k: near 1 for equal distributions, above 1 if fakes
    crowd around modes."""
    coverage: float
    """The share of reals with a fake in their ball; 1 − 2^−k, 0.97, for equal distributions if N = M."""


def support(real: Tensor | Balls, fake: Tensor | Balls) -> Support:
    """All four metrics, from features (N, F) and (M, F), N and M ≥ 6.

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
    """The training images, and the distance to them below which nearly no new reals lie."""

    points: Tensor
    """(V T, F), float64."""
    near: float
    """The k-th smallest squared distance of N new reals to their nearest, k = 0.05 (N + 1)."""

    @classmethod
    def of(cls, training: Tensor, held_out: Tensor | None = None) -> Self:
        """Build from the features of training images in all their views (V, T, F) and of new reals (N, F).

        Views are the variants of an image that are trained on, such as its mirror image. Without new reals,
        each training image stands in for one and is compared with the others. Duplicates of a real, uploaded
        with other names or sizes, are ignored in its comparison, because they do not show what is new.

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
        usual = usual[usual.isfinite()]  # infinite if all other images are duplicates
        rank = max(1, round(COMMON * (len(usual) + 1)))
        return cls(points, float(usual.kthvalue(rank).values) if len(usual) else 0.0)


def memorised(fake: Tensor, known: Known) -> float:
    """The share of fakes (M, F), M ≥ 1, that are nearer to a training image than nearly all new reals.

    The three sets are those of the data-copying test of Meehan et al. 2020 (arXiv 2004.05675). The expected
    value is 0.05 if fakes are as new as new reals (1 / (N + 1) for N < 19 of these), and 1 if all are copies.
    Blurred fakes are far from everything, so a small value alone does not show quality.

    Raises:
        ValueError: none, or some not finite.
    """
    nearest = _to_nearest(taken(fake, at_least=1), known.points)
    return float((nearest <= known.near).double().mean())


def _balls(given: Tensor | Balls) -> Balls:
    return given if isinstance(given, Balls) else Balls.of(given)


def _to_nearest(points: Tensor, known: Tensor, *, double: float = -1.0) -> Tensor:
    """Each point's squared distance to its nearest, except duplicates within `double`; infinite if none."""
    return torch.cat([_nearest(some, double) for some in squared_distances(points, known)])


def _nearest(distances: Tensor, double: float) -> Tensor:
    near = distances <= double
    doubles = near & (near.sum(1, keepdim=True) <= FEW)
    return distances.masked_fill_(doubles, torch.inf).amin(1)


def _to_nearest_other(points: Tensor, images: int, *, double: float) -> Tensor:
    """The same (T,), from each image's first view to the nearest view of another image, among (V T, F)."""
    rows, columns = torch.split(torch.arange(images), ROWS), torch.arange(len(points)) % images
    distances = squared_distances(points[:images], points)
    return torch.cat(
        [
            _nearest(some.masked_fill_(own[:, None] == columns, torch.inf), double)
            for own, some in zip(rows, distances, strict=True)
        ]
    )
