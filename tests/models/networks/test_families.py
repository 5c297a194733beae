"""Properties of the networks of every family, at every resolution they support."""

import pytest
import torch
from torch import nn

from contract.architectures import Pair
from models.networks import NETWORKS, Networks, build

FAMILIES = sorted(NETWORKS, key=lambda family: family.__name__)
SIZES = [
    (family, resolution, channels)
    for family in FAMILIES
    for resolution in family.RESOLUTIONS
    for channels in (1, 3)
]


def tiny(family: type[Pair], resolution: int = 32, channels: int = 3, seed: int = 0) -> Networks:
    architecture = family(
        kind=family.model_fields["kind"].default, latent_size=8, generator_width=4, discriminator_width=4
    )
    networks = build(architecture, resolution, channels)
    networks.generator.initialise(seed)
    networks.discriminator.initialise(seed)
    return networks


@pytest.mark.parametrize(("family", "resolution", "channels"), SIZES)
def test_generator_makes_images_in_range(family: type[Pair], resolution: int, channels: int) -> None:
    images = tiny(family, resolution, channels).generator(torch.ones(2, 8))
    assert images.shape == (2, channels, resolution, resolution)
    assert images.abs().max() <= 1


@pytest.mark.parametrize(("family", "resolution", "channels"), SIZES)
def test_discriminator_gives_one_score_per_image(family: type[Pair], resolution: int, channels: int) -> None:
    images = torch.zeros(3, channels, resolution, resolution)
    assert tiny(family, resolution, channels).discriminator(images).shape == (3,)


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_logits(family: type[Pair]) -> None:
    modules = tiny(family).discriminator.modules()
    assert not any(isinstance(module, nn.Sigmoid | nn.Tanh | nn.Softmax) for module in modules)


@pytest.mark.parametrize("family", FAMILIES)
def test_score_is_computed_from_the_features(family: type[Pair]) -> None:
    discriminator = tiny(family).discriminator.eval()
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    features = discriminator.features(images)
    assert len(features) == 3
    assert torch.equal(discriminator.score(features), discriminator(images))


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_of_a_score_reaches_every_parameter_of_the_generator(family: type[Pair]) -> None:
    networks = tiny(family)
    latents = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    networks.discriminator(networks.generator(latents)).sum().backward()
    for name, parameter in networks.generator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert all(p.grad.any() for p in networks.generator.parameters() if p.grad is not None and p.ndim > 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_a_function_of_the_seed(family: type[Pair]) -> None:
    for player in ("generator", "discriminator"):
        one, same, other = (getattr(tiny(family, seed=seed), player).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(tensor, same[name]) for name, tensor in one.items())
        drawn = [name for name, tensor in one.items() if tensor.ndim > 1]
        assert not any(torch.equal(one[name], other[name]) for name in drawn)


@pytest.mark.parametrize("family", FAMILIES)
def test_initialisation_does_not_advance_the_global_random_generator(family: type[Pair]) -> None:
    before = torch.random.get_rng_state()
    tiny(family)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("family", FAMILIES)
def test_fresh_images_are_neither_flat_nor_clipped(family: type[Pair]) -> None:
    architecture = family(kind=family.model_fields["kind"].default, latent_size=64)
    generator = build(architecture, 32, 3).generator
    generator.initialise(0)
    with torch.no_grad():
        images = generator(torch.randn(16, 64, generator=torch.Generator().manual_seed(0)))
    assert 0.02 < images.std().item() < 0.7
