"""The maps around Winograd's products: pairs of adjoints, exact in bfloat16 where they promise it."""

import pytest
import torch
from torch import Tensor

from models.networks.tiling import Tiling

BATCHES, CHANNELS, FEATURES = (2, 3), 3, 5
TILINGS = [Tiling(width, size, BATCHES) for width in (2, 4) for size in (width, 2 * width, 3 * width)]


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def dot(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> Tensor:
    return torch.stack([(x * y).sum() for x, y in zip(one, other, strict=True)]).sum()


@pytest.mark.parametrize("name", ["tiles", "sums"])
@pytest.mark.parametrize("tiling", TILINGS, ids=str)
def test_maps_of_batches_are_pairs_of_adjoints(name: str, tiling: Tiling) -> None:
    size, channels = (2 * tiling.size, CHANNELS) if name == "tiles" else (tiling.size, FEATURES)
    given = tuple(drawn(batch, size, size, channels) for batch in BATCHES)
    mapped = getattr(tiling, name)(*given)
    other = drawn(*mapped.shape)
    back = getattr(tiling, f"from_{name}")(other)
    assert [each.shape for each in back] == [each.shape for each in given]
    torch.testing.assert_close(dot((mapped,), (other,)), dot(given, back))


@pytest.mark.parametrize("tiling", TILINGS, ids=str)
def test_maps_of_kernels_are_a_pair_of_adjoints(tiling: Tiling) -> None:
    kernel = drawn(FEATURES, 4, 4, CHANNELS)
    filters = tiling.filters(kernel, torch.float64)
    other = drawn(*filters.shape)
    back = tiling.from_filters(other, torch.float64)
    assert back.shape == kernel.shape
    torch.testing.assert_close((filters * other).sum(), (kernel * back).sum())


@pytest.mark.parametrize("name", ["tiles", "sums"])
@pytest.mark.parametrize("tiling", TILINGS, ids=str)
def test_bfloat16_holds_the_matrices_exactly(name: str, tiling: Tiling) -> None:
    """What becomes of units are the columns of a matrix."""
    alone = Tiling(tiling.width, tiling.size, (1,))
    size = 2 * tiling.size if name == "tiles" else tiling.size
    unit = torch.zeros(1, size, size, size * size, dtype=torch.float64)
    unit.view(size * size, size * size).fill_diagonal_(1)
    exact, rounded = (getattr(alone, name)(unit.to(dtype)) for dtype in (torch.float64, torch.bfloat16))
    assert torch.equal(exact, rounded.double())


@pytest.mark.parametrize(
    ("size", "batches", "kernels", "width"),
    [
        (4, (64,), 256, 4),
        (4, (64,), 257, 2),
        (4, (64, 64), 512, 4),
        (4, (64, 64), 513, 2),
        (16, (64,), 1024, 4),
        (6, (64,), 16, 2),
        (2, (64,), 16, 2),
    ],
)
def test_large_tiles_need_a_multiple_of_four_and_no_more_than_four_kernels_each(
    size: int, batches: tuple[int, ...], kernels: int, width: int
) -> None:
    assert Tiling.of(size, batches, kernels) == Tiling(width, size, batches)
