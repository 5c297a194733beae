"""One strided convolution equals a resampling and a convolution in sequence."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate

from models.networks.resampling import GrowingConv2d, ShrinkingConv2d, subpixel


@pytest.fixture
def features() -> Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_growing_is_nearest_upsampling_and_then_a_convolution(features: Tensor) -> None:
    layer = GrowingConv2d(3, 5)
    upsampled = interpolate(features, scale_factor=2)
    in_two_steps = conv2d(upsampled, layer.weight, layer.bias, padding=1)
    assert torch.allclose(layer(features), in_two_steps, atol=1e-5)


def test_growing_is_the_same_with_a_precomputed_kernel(features: Tensor) -> None:
    layer = GrowingConv2d(3, 5)
    assert torch.equal(layer.strided()(features), layer(features))


def test_shrinking_is_a_convolution_and_then_averaging(features: Tensor) -> None:
    layer = ShrinkingConv2d(3, 5)
    in_two_steps = avg_pool2d(conv2d(features, layer.weight, layer.bias, padding=1), 2)
    assert torch.allclose(layer(features), in_two_steps, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_subpixel_form_equals_the_transposed_convolution(features: Tensor, bias: bool) -> None:
    layer = nn.ConvTranspose2d(3, 2, 4, 2, 1, bias=bias).double()
    shuffled = nn.Sequential(*subpixel(layer))(features.double())
    assert (shuffled - layer(features.double())).abs().max().item() < 1e-14
