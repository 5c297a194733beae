"""The discriminator's norms: batch norm, or spectral norm (Miyato et al. 2018, arXiv 1802.05957)."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils.parametrize import register_parametrization

from contract.architectures.pair import Norm


def batch_norm(norm: Norm, features: int) -> list[nn.Module]:
    """The layers that follow a convolution with this many features: a batch norm, or none."""
    return [nn.BatchNorm2d(features)] if norm == "batch" else []


def constrain(norm: Norm, discriminator: nn.Module) -> None:
    """Apply spectral norm to every convolution and linear layer, if it was chosen. In place."""
    if norm != "spectral":
        return
    for layer in list(discriminator.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            register_parametrization(layer, "weight", SpectralNorm(layer.weight.shape[0]), unsafe=True)


class SpectralNorm(nn.Module):
    """W / σ(W), where σ is the largest singular value of a kernel (O, I, …) viewed as a matrix (O, I·…).

    Each reading of a kernel that is trained advances `direction` (O,), the estimated singular vector, by one
    power iteration (algorithm 1): reals and fakes are scored with one, a penalty takes its own. Passes in the
    generator's turn, without gradients or in eval mode leave it unchanged. torch's own spectral norm iterates
    in every pass in train mode, and computes in bfloat16 under autocast.
    """

    direction: Tensor

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.register_buffer("direction", torch.empty(outputs))

    def forward(self, weight: Tensor) -> Tensor:
        with _float32(weight.device.type):
            matrix = _matrix(weight)  # (O, I·…)
            inwards, outwards = self._singular_vectors(matrix.detach())
            if self.training and torch.is_grad_enabled() and weight.requires_grad:
                self.direction.copy_(outwards)
            return weight / (outwards @ (matrix @ inwards))

    def _singular_vectors(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """One power iteration from `direction`: vectors (I·…,) and (O,), without gradients."""
        inwards = normalize(self.direction @ matrix, dim=0)
        return inwards, normalize(matrix @ inwards, dim=0)


def _float32(device: str) -> AbstractContextManager[object]:
    """Disable autocast; the meta device, on which costs are counted, does not support it anyway."""
    if not torch.amp.is_autocast_available(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)


def _matrix(weight: Tensor) -> Tensor:
    """A kernel as rows. The order within a row does not matter; this one is a view in channels_last."""
    return weight.movedim(1, -1).flatten(1)
