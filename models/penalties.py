"""Penalties on the gradient of single images' scores, in float32 because they square small gradients.

The zero-centred ones follow Mescheder et al. 2018 (arXiv 1801.04406, equations 9 and 10), computed every k-th
step with k times the weight ("lazy", Karras et al. 2020, arXiv 1912.04958, section 3.1).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from models.game import DiscriminatorTerm, Exchange
from models.networks.pair import Discriminator

_TINY = 1e-12  # added under the root, whose slope at 0 is infinite

Where = Callable[[Exchange], Tensor]


def reals(exchange: Exchange) -> Tensor:
    return exchange.real


def fakes(exchange: Exchange) -> Tensor:
    return exchange.fake


class ZeroCentred(DiscriminatorTerm):
    """γ/2 E‖∇D(x)‖² over some of the images of a step."""

    differentiates_gradients = True

    def __init__(self, name: str, where: Where, gamma: Callable[[int], float], every_steps: int) -> None:
        self.name = name
        self.every_steps = every_steps
        self._where = where
        self._gamma = gamma

    def loss(self, exchange: Exchange) -> Tensor:
        images = self._where(exchange)  # (N, C, R, R)
        weight = self._gamma(images.shape[-1]) / 2 * self.every_steps
        return weight * squared_gradient_norms(exchange.discriminator, images).mean()


def squared_gradient_norms(discriminator: Discriminator, images: Tensor) -> Tensor:
    """‖∇D(x)‖² (N,) for images (N, C, R, R); differentiable in the discriminator's weights."""
    images = images.detach().float().requires_grad_()
    total = discriminator(images).sum()
    (gradient,) = torch.autograd.grad(total, images, create_graph=True)  # (N, C, R, R)
    return gradient.square().sum(dim=(1, 2, 3))


def gradient_norms(discriminator: Discriminator, images: Tensor) -> Tensor:
    """‖∇D(x)‖ (N,)."""
    return (squared_gradient_norms(discriminator, images) + _TINY).sqrt()
