"""The small convolutional network whose averaged activations are the features.

Trained by `examples/features/train.py` on 32 and 64 px; docs/features.md tells on what and how well.
Batch norm is folded into the convolutions, so it has no mode. Letters: N batch, S side, F features.
"""

import torch
from torch import Tensor, nn

FEATURES = 128


class FeatureNetwork(nn.Module):
    """Six convolutions of 3×3 with ReLU, two of them residual; the means over all places are the features."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 24, 3, 1, 1)
        self.halve_1 = nn.Conv2d(24, 40, 3, 2, 1)
        self.refine_1 = nn.Conv2d(40, 40, 3, 1, 1)
        self.halve_2 = nn.Conv2d(40, 80, 3, 2, 1)
        self.refine_2 = nn.Conv2d(80, 80, 3, 1, 1)
        self.halve_3 = nn.Conv2d(80, FEATURES, 3, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.relu(self.enter(images))  # (N, 3, S, S), (N, 24, S, S)
        maps = torch.relu(self.halve_1(maps))  # (N, 40, S/2, S/2)
        maps = torch.relu(maps + self.refine_1(maps))
        maps = torch.relu(self.halve_2(maps))  # (N, 80, S/4, S/4)
        maps = torch.relu(maps + self.refine_2(maps))
        maps = torch.relu(self.halve_3(maps))  # (N, F, S/8, S/8)
        return maps.mean((2, 3))  # (N, F)


def multiply_adds(side: int) -> int:
    """What one image of this side costs: counted from the shapes, without computing anything."""
    counted = 0

    def count(layer: nn.Module, _given: object, made: Tensor) -> None:
        nonlocal counted
        assert isinstance(layer, nn.Conv2d)
        counted += made.numel() * layer.weight[0].numel()

    with torch.device("meta"):
        network = FeatureNetwork()
        for layer in network.children():
            layer.register_forward_hook(count)
        network(torch.empty(1, 3, side, side))
    return counted
