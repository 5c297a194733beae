"""The maps around Winograd's products: pairs of adjoints, exact in bfloat16 where they promise it."""

import pytest
import torch
from torch import Tensor

from models.networks.tiling import Tiling

TILINGS = [Tiling(width, size) for width in (2, 4) for size in (width, 2 * width, 3 * width)]
BATCH, CHANNELS, FEATURES = 2, 3, 5


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


@pytest.mark.parametrize("name", ["tiles", "sums", "filters"])
@pytest.mark.parametrize("tiling", TILINGS, ids=str)
def test_maps_are_pairs_of_adjoints(name: str, tiling: Tiling) -> None:
    given = {
        "tiles": drawn(BATCH, 2 * tiling.size, 2 * tiling.size, CHANNELS),
        "sums": drawn(BATCH, tiling.size, tiling.size, FEATURES),
        "filters": drawn(FEATURES, 4, 4, CHANNELS),
    }[name]
    precision = {"dtype": torch.float64} if name == "filters" else {}
    mapped = getattr(tiling, name)(given, **precision)
    other = drawn(*mapped.shape)
    back = getattr(tiling, f"from_{name}")(other, **precision)
    assert back.shape == given.shape
    torch.testing.assert_close((mapped * other).sum(), (given * back).sum())


@pytest.mark.parametrize("name", ["tiles", "sums"])
@pytest.mark.parametrize("tiling", TILINGS, ids=str)
def test_bfloat16_holds_the_matrices_exactly(name: str, tiling: Tiling) -> None:
    """What becomes of units are the columns of a matrix."""
    size = 2 * tiling.size if name == "tiles" else tiling.size
    unit = torch.zeros(1, size, size, size * size, dtype=torch.float64)
    unit.view(size * size, size * size).fill_diagonal_(1)
    exact, rounded = (getattr(tiling, name)(unit.to(dtype)) for dtype in (torch.float64, torch.bfloat16))
    assert torch.equal(exact, rounded.double())


@pytest.mark.parametrize(
    ("size", "batch", "kernels", "width"),
    [(4, 64, 256, 4), (4, 64, 257, 2), (16, 64, 1024, 4), (6, 64, 16, 2), (2, 64, 16, 2)],
)
def test_large_tiles_need_a_multiple_of_four_and_no_more_than_four_kernels_each(
    size: int, batch: int, kernels: int, width: int
) -> None:
    assert Tiling.of(size, batch, kernels) == Tiling(width, size)
