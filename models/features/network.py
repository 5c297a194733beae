"""The small convolutional network whose averaged activations are the features.

Trained by `examples/features/train.py` on 32 and 64 px; docs/features.md describes the data and the results.
Batch norm is folded into the convolutions, so there is no train mode. Letters: N batch, S side, F features.
"""

import torch
from torch import Tensor, nn

FEATURES = 128


class FeatureNetwork(nn.Module):
    """Five convolutions with ReLU, two of them residual; the features are the means over all positions."""

    def __init__(self) -> None:
        super().__init__()
        self.halve_1 = nn.Conv2d(3, 32, 4, 2, 1)  # 4×4, so that odd and even pixels weigh the same
        self.halve_2 = nn.Conv2d(32, 64, 3, 2, 1)
        self.refine_2 = nn.Conv2d(64, 64, 3, 1, 1)
        self.halve_3 = nn.Conv2d(64, FEATURES, 3, 2, 1)
        self.refine_3 = nn.Conv2d(FEATURES, FEATURES, 3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.relu(self.halve_1(images))  # (N, 3, S, S), (N, 32, S/2, S/2)
        maps = torch.relu(self.halve_2(maps))  # (N, 64, S/4, S/4)
        maps = torch.relu(maps + self.refine_2(maps))
        maps = torch.relu(self.halve_3(maps))  # (N, F, S/8, S/8)
        maps = torch.relu(maps + self.refine_3(maps))
        return maps.mean((2, 3))  # (N, F)


def multiply_adds(side: int) -> int:
    """The cost of one image of this side, counted from shapes without computing anything."""
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
