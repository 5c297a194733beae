"""Adam (Kingma and Ba 2015, arXiv 1412.6980) without the copies that torch makes on a CPU."""

from typing import Any

from torch import Tensor
from torch.optim import Adam


class FlatAdam(Adam):
    """Fused Adam that sees every tensor as a vector in memory order. Its results have the same bits.

    torch's kernel works in memory order, but first copies each gradient that is not contiguous, for nothing
    (`grad_contiguous` in FusedAdamKernel.cpp): half of its time with kernels in channels_last.
    """

    def _init_group(self, group: dict[str, Any], *lists: list[Tensor]) -> bool:
        """Fill the lists: parameters, gradients, both moments, then what has no memory format."""
        has_complex: bool = super()._init_group(group, *lists)  # type: ignore[no-untyped-call]
        for tensors in lists[:4]:
            tensors[:] = [_in_memory_order(tensor) for tensor in tensors]
        return has_complex


def _in_memory_order(tensor: Tensor) -> Tensor:
    """View a tensor without gaps as a vector."""
    return tensor.as_strided((tensor.numel(),), (1,))
