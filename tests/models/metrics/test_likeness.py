"""Floors: real pictures in the place of samples are about as good as samples can be."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.metrics import Likeness, Reals

Cloud = Callable[..., Tensor]


def floor(cloud: Cloud, count: int) -> Likeness:
    return Likeness.of(Reals.of(cloud(count)), cloud(count, seed=1))


def test_floor_of_the_frechet_distance_falls_with_the_number_of_images(cloud: Cloud) -> None:
    assert 0 < floor(cloud, 800).frechet < floor(cloud, 100).frechet


def test_floor_of_the_kernel_distance_is_zero_within_its_error(cloud: Cloud) -> None:
    found = floor(cloud, 800).kernel
    assert abs(found.value) < 3 * found.error


def test_floor_of_shares_is_what_the_papers_expect_of_equal_distributions(cloud: Cloud) -> None:
    found = floor(cloud, 800)
    assert found.samples == 800
    assert found.support.density == pytest.approx(1, abs=0.1)
    assert found.support.coverage == pytest.approx(1 - 2**-5, abs=0.02)
    assert found.diversity == pytest.approx(1, abs=0.02)
    assert found.repeated < 0.005


def test_samples_unlike_the_reals_are_beyond_the_floor(cloud: Cloud) -> None:
    reals = Reals.of(cloud(400))
    floor, unlike = (Likeness.of(reals, cloud(400, seed=1) + shift) for shift in (0, 1))
    assert unlike.frechet > floor.frechet
    assert unlike.kernel.value > floor.kernel.value
    assert unlike.support.coverage < floor.support.coverage


def test_reals_that_all_look_the_same_leave_no_variety_to_lack() -> None:
    alike, other = torch.ones(40, 8), torch.zeros(80, 8)
    for samples in (alike, other):
        found = Likeness.of(Reals.of(alike, at_least=1e-6), samples)
        assert (found.diversity, found.repeated) == (1, 0)
