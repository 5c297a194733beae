"""Properties of the Fréchet distance."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.metrics import Moments, frechet_distance

Cloud = Callable[..., Tensor]


def moments(mean: Tensor, deviations: Tensor) -> Moments:
    return Moments(mean.double(), deviations.double().square().diag(), 1000)


def test_distance_of_a_set_to_itself_is_zero(cloud: Cloud) -> None:
    assert frechet_distance(cloud(100), cloud(100)) == pytest.approx(0, abs=1e-6)


def test_distance_of_a_shifted_set_is_the_square_of_the_shift(cloud: Cloud) -> None:
    shift = torch.arange(8.0)
    assert frechet_distance(cloud(100), cloud(100) + shift) == pytest.approx(float(shift.square().sum()))


def test_diagonal_covariances_give_the_squared_difference_of_the_deviations() -> None:
    one, other = torch.tensor([1.0, 2, 3]), torch.tensor([2.0, 2, 7])
    found = frechet_distance(moments(torch.zeros(3), one), moments(torch.zeros(3), other))
    assert found == pytest.approx(1 + 0 + 16)


def test_distance_is_symmetric(cloud: Cloud) -> None:
    one, other = cloud(50), 2 * cloud(60, seed=1) + 1
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one))


def test_distance_is_invariant_under_rotation(cloud: Cloud) -> None:
    one, other = cloud(50), cloud(60, seed=1) * torch.arange(8)
    turn, _ = torch.linalg.qr(cloud(8, seed=2))
    assert frechet_distance(one @ turn, other @ turn) == pytest.approx(frechet_distance(one, other))


def test_distance_grows_with_the_square_of_the_scale(cloud: Cloud) -> None:
    one, other = cloud(50), cloud(60, seed=1) + 1
    assert frechet_distance(3 * one, 3 * other) == pytest.approx(9 * frechet_distance(one, other))


def test_distance_is_accurate_with_fewer_images_than_features(cloud: Cloud) -> None:
    shift = torch.ones(64)
    found = frechet_distance(cloud(10, size=64), cloud(10, size=64) + shift)
    assert found == pytest.approx(64, rel=1e-6)


def test_moments_can_replace_their_features(cloud: Cloud) -> None:
    one, other = cloud(50), cloud(60, seed=1)
    assert frechet_distance(Moments.of(one), Moments.of(other)) == frechet_distance(one, other)


def test_covariance_matches_that_of_torch(cloud: Cloud) -> None:
    points = cloud(50)
    torch.testing.assert_close(Moments.of(points).covariance, torch.cov(points.T))


@pytest.mark.parametrize("features", [torch.zeros(1, 4), torch.zeros(4), torch.tensor([[0.0], [torch.nan]])])
def test_features_without_moments_are_refused(features: Tensor) -> None:
    with pytest.raises(ValueError, match="Features"):
        Moments.of(features)
