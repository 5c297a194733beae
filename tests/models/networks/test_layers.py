from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.layers import FromPoint, ToPoint

LAYOUTS = [torch.contiguous_format, torch.channels_last]

Layer = FromPoint | ToPoint


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def from_point(layout: torch.memory_format) -> tuple[FromPoint, Tensor]:
    layer = FromPoint(6, 5, 4)
    layer.weight = nn.Parameter(drawn(6, 5, 4, 4).contiguous(memory_format=layout))
    return layer, drawn(3, 6, 1, 1)


def to_point(layout: torch.memory_format) -> tuple[ToPoint, Tensor]:
    layer = ToPoint(6, 2, 4)
    layer.weight = nn.Parameter(drawn(2, 6, 4, 4).contiguous(memory_format=layout))
    return layer, drawn(3, 6, 4, 4).contiguous(memory_format=layout)


Make = Callable[[torch.memory_format], tuple[Layer, Tensor]]
BOTH: list[Make] = [from_point, to_point]


def convolved(layer: Layer, features: Tensor) -> Tensor:
    if isinstance(layer, FromPoint):
        return functional.conv_transpose2d(features, layer.weight)
    return functional.conv2d(features, layer.weight, layer.bias)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("make", BOTH)
def test_product_equals_the_convolution(make: Make, layout: torch.memory_format) -> None:
    layer, features = make(layout)
    torch.testing.assert_close(layer(features), convolved(layer, features))


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("make", BOTH)
def test_gradients_equal_those_of_the_convolution(make: Make, layout: torch.memory_format) -> None:
    layer, features = make(layout)
    features.requires_grad_()
    inputs = [features, *layer.parameters()]
    ours = torch.autograd.grad(layer(features).square().sum(), inputs)
    theirs = torch.autograd.grad(convolved(layer, features).square().sum(), inputs)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("make", BOTH)
def test_results_have_the_memory_layout_of_the_convolution(make: Make, layout: torch.memory_format) -> None:
    layer, features = make(layout)
    layer(features).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.stride() == layer.weight.stride()
    assert layer(features).is_contiguous(memory_format=layout)


def test_checkpoints_of_the_convolutions_load() -> None:
    pairs = [
        (FromPoint(6, 5, 4), nn.ConvTranspose2d(6, 5, 4, bias=False), drawn(3, 6, 1, 1)),
        (ToPoint(6, 2, 4), nn.Conv2d(6, 2, 4), drawn(3, 6, 4, 4)),
    ]
    for ours, theirs, features in pairs:
        ours.load_state_dict(theirs.state_dict())
        torch.testing.assert_close(ours(features), theirs(features))


def test_sample_does_not_depend_on_its_batch_in_eval_mode() -> None:
    layer, features = from_point(torch.channels_last)
    layer.eval()
    assert torch.equal(layer(features)[:1], layer(features[:1]))


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("has_bias", [True, False])
def test_linear_form_of_a_layer_from_a_point_is_equivalent(
    layout: torch.memory_format, has_bias: bool
) -> None:
    layer, features = from_point(layout)
    layer.bias = nn.Parameter(drawn(5)) if has_bias else None
    square = nn.Sequential(*layer.as_linear())(features)
    torch.testing.assert_close(square, layer.eval()(features))
    assert square.is_contiguous(memory_format=torch.channels_last)
