"""How often samples repeat each other, whatever the distance between those that differ."""

import pytest
import torch
from torch import Tensor

from models.metrics import repeated
from tests.models.metrics.conftest import Cloud


@pytest.mark.parametrize("pictures", [2, 5, 10])
def test_few_pictures_with_a_little_noise_repeat_one_in_every_k_pairs(cloud: Cloud, pictures: int) -> None:
    fakes = cloud(pictures, seed=1).repeat(1000 // pictures, 1) + 0.01 * cloud(1000, seed=2)
    assert repeated(fakes) == pytest.approx(1 / pictures, abs=0.002)


def test_new_points_do_not_repeat_each_other(cloud: Cloud) -> None:
    assert repeated(cloud(500)) < 0.005


def test_less_varied_points_repeat_each_other_no_more_often(cloud: Cloud) -> None:
    """Not even those around a single picture: these lack diversity."""
    assert repeated(cloud(500) / 64) == repeated(cloud(500)) > 0


def test_equal_points_all_repeat_each_other() -> None:
    assert repeated(torch.full((50, 8), 0.1)) == 1


@pytest.mark.parametrize("fakes", [torch.zeros(1, 8), torch.full((4, 8), torch.nan)])
def test_invalid_fakes_are_refused(fakes: Tensor) -> None:
    with pytest.raises(ValueError, match="not"):
        repeated(fakes)
