"""Properties of continuity along latent paths, and of diversity."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.metrics import continuity, diversity, mean_pairwise_distance

Cloud = Callable[..., Tensor]
POINTS = 9


def straight(starts: Tensor, ends: Tensor) -> Tensor:
    share = torch.linspace(0, 1, POINTS)[:, None].double()
    return starts[:, None].lerp(ends[:, None], share)  # (P, T, F)


def test_straight_paths_are_smooth_and_about_as_long_as_reals_are_apart(cloud: Cloud) -> None:
    starts, ends = cloud(400), cloud(400, seed=1)
    found = continuity(straight(starts, ends), mean_pairwise_distance(cloud(400, seed=2)))
    assert found.length == pytest.approx(1, abs=0.05)
    assert found.smoothness == pytest.approx(1)


def test_arcs_across_normal_features_have_the_documented_length(cloud: Cloud) -> None:
    angle = torch.linspace(0, math.pi / 2, 65)[:, None].double()
    starts, ends = cloud(200, size=256), cloud(200, size=256, seed=1)
    arcs = angle.cos() * starts[:, None] + angle.sin() * ends[:, None]
    assert continuity(arcs, mean_pairwise_distance(starts)).length == pytest.approx(1.11, abs=0.01)


def test_single_jump_has_the_lowest_smoothness(cloud: Cloud) -> None:
    paths = cloud(10)[:, None].repeat(1, POINTS, 1)
    paths[:, 4:] += 5
    assert continuity(paths, 1.0).smoothness == pytest.approx(1 / (POINTS - 1))


def test_constant_path_is_smooth_and_has_zero_length(cloud: Cloud) -> None:
    found = continuity(cloud(10)[:, None].repeat(1, POINTS, 1), 1.0)
    assert (found.length, found.smoothness) == (0, 1)


def test_continuity_does_not_depend_on_the_scale_of_features(cloud: Cloud) -> None:
    paths, scale = cloud(10 * POINTS).reshape(10, POINTS, 8), mean_pairwise_distance(cloud(50))
    plain, larger = continuity(paths, scale), continuity(7 * paths, 7 * scale)
    assert larger.length == pytest.approx(plain.length)
    assert larger.smoothness == pytest.approx(plain.smoothness)


@pytest.mark.parametrize("shape", [(0, 9, 4), (3, 2, 4), (9, 4)])
def test_paths_of_invalid_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="not"):
        continuity(torch.zeros(shape), 1.0)


def test_zero_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="scale"):
        continuity(torch.zeros(2, 3, 4), 0.0)


def test_copies_of_one_image_have_zero_diversity(cloud: Cloud) -> None:
    assert diversity(cloud(50), cloud(1, seed=1).repeat(50, 1)) == 0


def test_diversity_of_the_reals_is_one(cloud: Cloud) -> None:
    assert diversity(cloud(50), cloud(50)) == 1


def test_half_the_distances_give_half_the_diversity(cloud: Cloud) -> None:
    assert diversity(cloud(50), 0.5 * cloud(50) + 3) == pytest.approx(0.5)


def test_mean_distance_of_the_reals_can_replace_them(cloud: Cloud) -> None:
    one, other = cloud(50), cloud(60, seed=1)
    assert diversity(mean_pairwise_distance(one), other) == diversity(one, other)


def test_identical_reals_are_refused() -> None:
    with pytest.raises(ValueError, match="reals"):
        diversity(torch.ones(10, 4), torch.zeros(10, 4))


def test_mean_pairwise_distance_is_over_distinct_points(cloud: Cloud) -> None:
    points = cloud(300)
    assert mean_pairwise_distance(points) == pytest.approx(float(torch.nn.functional.pdist(points).mean()))
