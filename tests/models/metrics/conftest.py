"""Clouds of points to compare."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

Cloud = Callable[..., Tensor]


@pytest.fixture
def cloud() -> Cloud:
    """Draws normal points (count, size), float64; each seed gives different ones."""

    def drawn(count: int, size: int = 8, seed: int = 0) -> Tensor:
        return torch.randn(count, size, dtype=torch.float64, generator=Generator().manual_seed(seed))

    return drawn
