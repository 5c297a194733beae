"""Clouds of points to compare."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

Cloud = Callable[..., Tensor]


@pytest.fixture
def cloud() -> Cloud:
    """Normal points (count, size), float64; another seed is another draw."""

    def drawn(count: int, size: int = 8, seed: int = 0) -> Tensor:
        return torch.randn(count, size, dtype=torch.float64, generator=Generator().manual_seed(seed))

    return drawn
