"""Winograd's algorithm computes the strided convolutions that it replaces, and all their derivatives."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from models.networks import winograd
from tests.models.counting import MultiplyAdds

LAYOUTS = [torch.contiguous_format, torch.channels_last]

Convolution = Callable[[Tensor, Tensor], Tensor]


def halve(image: Tensor, kernel: Tensor) -> Tensor:
    return functional.conv2d(image, kernel, stride=2, padding=1)


def double(outputs: Tensor, kernel: Tensor) -> Tensor:
    return functional.conv_transpose2d(outputs, kernel, stride=2, padding=1)


def alone(convolution: winograd.Convolution) -> Convolution:
    """Of a single batch."""

    def of_one(features: Tensor, kernel: Tensor) -> Tensor:
        [result] = convolution([features], kernel)
        return result

    return of_one


PAIRS: dict[str, tuple[Convolution, Convolution]] = {
    "halve": (alone(winograd.halve), halve),
    "double": (alone(winograd.double), double),
}
TOGETHER = {"halve": winograd.halve, "double": winograd.double}


def given(name: str, size: int = 8, batch: int = 2, channels: int = 3, features: int = 5) -> list[Tensor]:
    """Features of this size, or half of it where they are doubled, and a kernel, in float64."""
    random = torch.Generator().manual_seed(size)
    small = (batch, features, size // 2, size // 2)
    large = (batch, channels, size, size)
    shapes = (large if name == "halve" else small, (features, channels, 4, 4))
    return [torch.randn(shape, generator=random, dtype=torch.float64) for shape in shapes]


def deviation(found: Tensor, exact: Tensor) -> float:
    return float((found.detach().double() - exact).norm() / exact.norm())


def derivatives(convolution: Convolution, inputs: list[Tensor], upstream: Tensor) -> tuple[Tensor, ...]:
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    return torch.autograd.grad(convolution(leaves[0], leaves[1]), leaves, upstream.to(inputs[0].dtype))


@pytest.mark.parametrize("features", [5, 99])
@pytest.mark.parametrize("size", [4, 8, 12, 32])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_equals_the_convolution(name: str, layout: torch.memory_format, size: int, features: int) -> None:
    ours, theirs = PAIRS[name]
    inputs = (tensor.contiguous(memory_format=layout) for tensor in given(name, size, features=features))
    image, kernel = inputs
    torch.testing.assert_close(ours(image, kernel), theirs(image, kernel))


@pytest.mark.parametrize("size", [4, 8, 16])
@pytest.mark.parametrize("name", PAIRS)
def test_first_and_second_derivatives_equal_the_slopes(name: str, size: int) -> None:
    ours, _ = PAIRS[name]
    inputs = [tensor.requires_grad_() for tensor in given(name, size, batch=1, features=2, channels=1)]
    assert gradcheck(ours, inputs)
    assert gradgradcheck(ours, inputs)


@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize("name", PAIRS)
def test_several_batches_are_each_convolved(name: str, size: int) -> None:
    batches = [given(name, size, batch)[0] for batch in (1, 3, 2)]
    _, kernel = given(name, size)
    leaves = [tensor.requires_grad_() for tensor in (*batches, kernel)]
    found = TOGETHER[name](batches, kernel)
    expected = tuple(PAIRS[name][1](batch, kernel) for batch in batches)
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad(results, leaves, expected) for results in (found, expected))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("name", PAIRS)
def test_derivatives_of_several_batches_equal_the_slopes(name: str) -> None:
    batches = [given(name, 4, batch, features=2, channels=1)[0] for batch in (1, 2)]
    _, kernel = given(name, 4, features=2, channels=1)
    inputs = [tensor.requires_grad_() for tensor in (kernel, *batches)]

    def convolved(kernel: Tensor, *batches: Tensor) -> tuple[Tensor, ...]:
        return TOGETHER[name](batches, kernel)

    assert gradcheck(convolved, inputs)
    assert gradgradcheck(convolved, inputs)


@pytest.mark.parametrize("name", PAIRS)
def test_a_batch_whose_result_is_unused_has_no_part_in_the_gradient(name: str) -> None:
    (used, kernel), (unused, _) = given(name), given(name, batch=3)
    kernel.requires_grad_()
    result = TOGETHER[name]([unused.requires_grad_(), used], kernel)[1]
    expected = PAIRS[name][1](used, kernel)
    gradients = (torch.autograd.grad(each.square().sum(), kernel) for each in (result, expected))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("asked", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("name", PAIRS)
def test_computes_the_gradients_that_are_asked_for(name: str, asked: tuple[bool, bool]) -> None:
    ours, theirs = PAIRS[name]
    inputs = [tensor.requires_grad_(wanted) for tensor, wanted in zip(given(name), asked, strict=True)]
    leaves = [tensor for tensor in inputs if tensor.requires_grad]
    found, expected = (torch.autograd.grad(way(*inputs).square().sum(), leaves) for way in (ours, theirs))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", PAIRS)
def test_the_result_is_in_channels_last(name: str) -> None:
    ours, _ = PAIRS[name]
    assert ours(*given(name)).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", PAIRS)
def test_follows_autocast(name: str) -> None:
    inputs = [tensor.float().requires_grad_() for tensor in given(name)]
    results = []
    for way in PAIRS[name]:
        with torch.autocast("cpu", torch.bfloat16):
            result = way(*inputs)
        gradients = torch.autograd.grad(result, inputs, torch.ones_like(result))
        assert result.dtype == torch.bfloat16
        assert {gradient.dtype for gradient in gradients} == {torch.float32}
        results.append([result.detach(), *gradients])
    for found, expected in zip(*results, strict=True):
        assert deviation(found, expected.detach().double()) < 0.02


@pytest.mark.parametrize("name", PAIRS)
def test_a_penalty_does_not_pay_for_the_kernels_gradient(name: str) -> None:
    ours, _ = PAIRS[name]
    features, kernel = given(name)
    counts = []
    for is_trained in (True, False):
        result = ours(features.requires_grad_(), kernel.requires_grad_(is_trained))
        with MultiplyAdds() as backward:
            torch.autograd.grad(result.sum(), features, create_graph=True)
        counts.append(backward.count)
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("name", PAIRS)
def test_no_place_of_a_tile_is_far_off_in_bfloat16(name: str) -> None:
    """The features are as after a ReLU, whose mean is not zero."""
    ours, theirs = PAIRS[name]
    features, kernel = given(name, size=16, batch=64, channels=64, features=128)
    rounded = [features.relu().bfloat16(), kernel.bfloat16()]
    exact = theirs(*(tensor.double() for tensor in rounded))
    errors = (ours(*rounded).double() - exact).square().mean((0, 1)) / exact.square().mean((0, 1))
    assert errors.max().sqrt() < 0.04


@pytest.mark.parametrize(
    ("batch", "dtype", "most"),
    [
        (1, torch.float32, 1e-6),
        (1, torch.bfloat16, 5e-3),
        (16, torch.float32, 2e-6),
        (16, torch.bfloat16, 0.012),
    ],
)
@pytest.mark.parametrize("name", PAIRS)
def test_rounding_errors_are_small(name: str, batch: int, dtype: torch.dtype, most: float) -> None:
    ours, theirs = PAIRS[name]
    drawn = given(name, size=16, batch=batch, channels=64, features=128)
    rounded = [tensor.to(dtype) for tensor in drawn]
    exact = [tensor.double() for tensor in rounded]
    upstream = torch.randn_like(theirs(*exact)).to(dtype).double()
    assert deviation(ours(*rounded), theirs(*exact)) < most
    for found, expected in zip(
        derivatives(ours, rounded, upstream), derivatives(theirs, exact, upstream), strict=True
    ):
        assert deviation(found, expected) < most
