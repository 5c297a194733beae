"""Properties of the kernel distance."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.metrics import Estimate, Pairs, kernel_distance

Cloud = Callable[..., Tensor]


def by_definition(real: Tensor, fake: Tensor) -> float:
    def kernel(one: Tensor, other: Tensor) -> float:
        return (float(one @ other) / len(one) + 1) ** 3

    def mean_of_pairs(points: Tensor) -> float:
        found = [
            kernel(one, other) for i, one in enumerate(points) for j, other in enumerate(points) if i != j
        ]
        return sum(found) / len(found)

    cross = [kernel(one, other) for one in real for other in fake]
    return mean_of_pairs(real) + mean_of_pairs(fake) - 2 * sum(cross) / len(cross)


def of_equals(cloud: Cloud) -> Tensor:
    values = [
        kernel_distance(cloud(30, seed=2 * draw), cloud(20, seed=2 * draw + 1)).value for draw in range(60)
    ]
    return torch.tensor(values)


def test_distance_matches_its_definition(cloud: Cloud) -> None:
    one, other = cloud(7, size=3), cloud(5, size=3, seed=1) + 1
    assert kernel_distance(one, other).value == pytest.approx(by_definition(one, other))


def test_distance_of_equal_distributions_is_zero_on_average(cloud: Cloud) -> None:
    values = of_equals(cloud)
    assert abs(values.mean()) < 3 * values.std() / len(values) ** 0.5


def test_distance_of_equal_distributions_can_be_negative(cloud: Cloud) -> None:
    assert 0.3 < (of_equals(cloud) < 0).double().mean() < 0.8


def test_mean_distance_does_not_depend_on_the_number_of_images(cloud: Cloud) -> None:
    def mean(count: int) -> float:
        draws = [
            kernel_distance(cloud(count, seed=2 * draw), cloud(count, seed=2 * draw + 1) + 1).value
            for draw in range(50)
        ]
        return sum(draws) / len(draws)

    assert mean(10) == pytest.approx(mean(80), rel=0.1)


def test_error_is_the_standard_deviation_over_draws(cloud: Cloud) -> None:
    found = [kernel_distance(cloud(200, seed=2 * k), cloud(200, seed=2 * k + 1) + 1) for k in range(30)]
    spread = torch.tensor([each.value for each in found]).std()
    assert sum(each.error for each in found) / len(found) == pytest.approx(float(spread), rel=0.4)


def test_pairs_can_replace_their_features(cloud: Cloud) -> None:
    one, other = cloud(50), cloud(60, seed=1)
    assert kernel_distance(Pairs.of(one), Pairs.of(other)) == kernel_distance(one, other)


def test_four_images_of_each_kind_are_enough(cloud: Cloud) -> None:
    found = kernel_distance(cloud(4), cloud(4, seed=1))
    assert isinstance(found, Estimate)
    assert found.error >= 0


def test_three_images_of_a_kind_are_refused(cloud: Cloud) -> None:
    with pytest.raises(ValueError, match=r"\(3, 8\)"):
        kernel_distance(cloud(4), cloud(3))
