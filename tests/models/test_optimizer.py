"""FlatAdam is torch's fused Adam, bit for bit, without copying gradients."""

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.profiler import ProfilerActivity, profile

from models.optimizer import FlatAdam

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def parameters(layout: torch.memory_format) -> list[nn.Parameter]:
    random = torch.Generator().manual_seed(0)
    shapes = [(8, 4, 4, 4), (1, 8, 4, 4), (8, 1, 4, 4), (8, 3, 1, 1), (8,), (5, 3), (), (2,)]
    drawn = (torch.randn(shape, generator=random) for shape in shapes)
    return [nn.Parameter(_laid_out(tensor, layout)) for tensor in drawn]


def _laid_out(tensor: Tensor, layout: torch.memory_format) -> Tensor:
    return tensor.contiguous(memory_format=layout) if tensor.ndim == 4 else tensor


def descend(optimizer: Adam, ours: list[nn.Parameter], steps: int = 3) -> None:
    """By a loss whose gradient differs for every element, and is missing for the last parameter."""
    for _ in range(steps):
        loss = torch.stack([(one.sin() * one).sum() for one in ours[:-1]]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_equals_torchs_own(layout: torch.memory_format) -> None:
    ours, theirs = parameters(layout), parameters(layout)
    optimizers = FlatAdam(ours, 0.1, fused=True), Adam(theirs, 0.1, fused=True)
    for optimizer, each in zip(optimizers, (ours, theirs), strict=True):
        descend(optimizer, each)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)
        found, expected = (by.state[each] for by, each in zip(optimizers, (one, other), strict=True))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in found)
    assert not torch.equal(ours[0], parameters(layout)[0])


def test_copies_no_gradient() -> None:
    kernel = nn.Parameter(torch.randn(8, 4, 4, 4).contiguous(memory_format=torch.channels_last))
    optimizer = FlatAdam([kernel], fused=True)
    descend(optimizer, [kernel, kernel], steps=1)
    kernel.grad = torch.ones_like(kernel)
    with profile(activities=[ProfilerActivity.CPU]) as operations:
        optimizer.step()
    names = {event.name for event in operations.events() or ()}
    assert "aten::_fused_adam_" in names
    assert "aten::clone" not in names
