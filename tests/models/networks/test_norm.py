"""Guarantees of the discriminator's norms, for every family that supports them."""

from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import cached

from contract.architectures import Dcgan, Norm, Pair
from models.networks import NETWORKS, build
from models.networks.norm import SpectralNorm
from models.networks.pair import Discriminator

FAMILIES = sorted(NETWORKS, key=lambda family: family.__name__)


def tiny(family: type[Pair], norm: str) -> Discriminator:
    architecture = family(
        kind=family.model_fields["kind"].default,
        latent_size=8,
        generator_width=4,
        discriminator_width=4,
        discriminator_norm=norm,
    )
    discriminator = build(architecture, 32, 3).discriminator
    discriminator.initialise(0)
    return discriminator


def pictures(count: int = 6) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def kernels(discriminator: Discriminator) -> list[Tensor]:
    layers = [layer for layer in discriminator.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return [layer.weight for layer in layers]


@pytest.mark.parametrize("family", FAMILIES)
def test_largest_singular_value_of_every_kernel_converges_to_one(family: type[Pair]) -> None:
    discriminator = tiny(family, "spectral")
    for _ in range(300):
        kernels(discriminator)  # reading iterates, as in a training pass
    with torch.no_grad():
        largest = [torch.linalg.matrix_norm(kernel.flatten(1), 2).item() for kernel in kernels(discriminator)]
    assert largest == pytest.approx([1.0] * len(largest), abs=0.01)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("norm", ["spectral", "none"])
def test_scores_do_not_depend_on_the_batch_without_batch_norm(family: type[Pair], norm: str) -> None:
    discriminator, images = tiny(family, norm), pictures()
    with torch.no_grad():
        together = discriminator(images)
        alone = torch.cat([discriminator(image[None]) for image in images])
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_depend_on_the_batch_with_batch_norm(family: type[Pair]) -> None:
    discriminator, images = tiny(family, "batch"), pictures()
    with torch.no_grad():
        assert not torch.allclose(discriminator(images)[:3], discriminator(images[:3]), rtol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("norm", get_args(Norm))
def test_batches_scored_together_are_normalised_apart(family: type[Pair], norm: str) -> None:
    images = pictures()
    batches = [images[:3], 0.5 * images[2:]]
    together, apart = tiny(family, norm), tiny(family, norm)
    with cached():  # as in training: kernels under spectral norm are computed once
        found = list(together.scores_of_each(batches))
    with cached():
        expected = [apart(each) for each in batches]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(together.state_dict(), apart.state_dict())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("norm", get_args(Norm))
def test_every_parameter_gets_a_finite_gradient(family: type[Pair], norm: str) -> None:
    discriminator = tiny(family, norm)
    discriminator(pictures()).square().sum().backward()
    for name, parameter in discriminator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_passes_that_do_not_train_leave_a_spectral_discriminator_unchanged() -> None:
    discriminator = tiny(Dcgan, "spectral")
    before = {name: tensor.clone() for name, tensor in discriminator.state_dict().items()}
    with torch.no_grad():
        discriminator(pictures())
    discriminator.requires_grad_(requires_grad=False)(pictures().requires_grad_())
    discriminator.requires_grad_(requires_grad=True).eval()(pictures())
    assert all(torch.equal(tensor, before[name]) for name, tensor in discriminator.state_dict().items())


def test_training_pass_advances_the_direction() -> None:
    norm = SpectralNorm(4)
    norm.direction.copy_(torch.ones(4))
    norm(nn.Parameter(torch.randn(4, 9, generator=torch.Generator().manual_seed(0))))
    assert not torch.equal(norm.direction, torch.ones(4))


def test_scale_of_a_kernel_does_not_matter() -> None:
    norm, kernel = SpectralNorm(4).eval(), torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    norm.direction.copy_(torch.ones(4))
    assert torch.allclose(norm(kernel), norm(100 * kernel), atol=1e-6)


def test_norm_is_computed_in_float32_under_autocast() -> None:
    norm, kernel = SpectralNorm(4).eval(), torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    norm.direction.copy_(torch.ones(4))
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = norm(kernel)
    assert torch.equal(under_autocast, norm(kernel))
