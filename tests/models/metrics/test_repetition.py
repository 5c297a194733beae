"""How often samples repeat each other, whatever the distance between those that differ."""

import pytest
import torch
from torch import Tensor

from models.metrics import repeated
from tests.models.metrics.conftest import Cloud


@pytest.mark.parametrize("pictures", [1, 2, 5, 10])
def test_few_pictures_with_a_little_noise_repeat_one_in_every_k_pairs(cloud: Cloud, pictures: int) -> None:
    fakes = cloud(pictures, seed=1).repeat(1000 // pictures, 1) + 0.01 * cloud(1000, seed=2)
    assert repeated(cloud(100), fakes) == pytest.approx(1 / pictures, abs=0.002)


def test_new_points_do_not_repeat_each_other(cloud: Cloud) -> None:
    assert repeated(cloud(100), cloud(500, seed=1)) < 0.005


def test_points_much_closer_to_each_other_than_reals_are_repeat_each_other(cloud: Cloud) -> None:
    assert repeated(cloud(100), cloud(100, seed=1) * 0.05) == 1


def test_mean_distance_of_the_reals_can_replace_them_at_any_scale(cloud: Cloud) -> None:
    fakes = cloud(100, seed=1)
    assert repeated(10, fakes) == repeated(1000, 100 * fakes) > 0


@pytest.mark.parametrize("fakes", [torch.zeros(1, 8), torch.full((4, 8), torch.nan)])
def test_invalid_fakes_are_refused(fakes: Tensor) -> None:
    with pytest.raises(ValueError, match="not"):
        repeated(1.0, fakes)
