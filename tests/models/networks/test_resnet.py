import pytest
import torch
from torch import nn

from contract.architectures import Resnet
from models.networks import Networks, build
from models.networks.resnet import GrowingBlock, LastBlock, ShrinkingBlock


def residual(resolution: int = 32, width: int = 4) -> Networks:
    architecture = Resnet(
        latent_size=8, generator_width=width, discriminator_width=width, discriminator_norm="none"
    )
    networks = build(architecture, resolution, 3)
    networks.generator.initialise(0)
    networks.discriminator.initialise(0)
    return networks


@pytest.mark.parametrize(("resolution", "blocks"), [(32, 3), (64, 4), (128, 5)])
def test_blocks_lead_from_four_pixels_to_the_image_and_back(resolution: int, blocks: int) -> None:
    networks = residual(resolution)
    assert sum(isinstance(layer, GrowingBlock) for layer in networks.generator.modules()) == blocks
    assert sum(isinstance(layer, ShrinkingBlock) for layer in networks.discriminator.modules()) == blocks
    assert sum(isinstance(layer, LastBlock) for layer in networks.discriminator.modules()) == 1


def test_block_with_zero_kernels_returns_its_shortcut() -> None:
    block = GrowingBlock(3, 3)
    for name, parameter in block.named_parameters():
        nn.init.dirac_(parameter) if name == "shortcut.0.weight" else nn.init.zeros_(parameter)
    features = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(features), nn.functional.interpolate(features, scale_factor=2))


def test_first_block_sees_negative_pixels() -> None:
    black = -torch.ones(1, 3, 32, 32)
    grey = torch.zeros(1, 3, 32, 32)
    discriminator = residual().discriminator
    assert not torch.equal(discriminator(black), discriminator(grey))


def test_kernels_are_glorot_initialised_with_a_gain_after_a_relu() -> None:
    block = "blocks.1"  # from 32 to 64 features
    parameters = dict(residual(width=32).discriminator.named_parameters())
    between, shortcut = parameters[f"{block}.change.1.weight"], parameters[f"{block}.shortcut.1.weight"]
    assert between.std().item() == pytest.approx((4 / (64 * 9)) ** 0.5, rel=0.02)
    assert shortcut.std().item() == pytest.approx((2 / (32 + 64)) ** 0.5, rel=0.05)


def test_features_are_summed_over_the_picture() -> None:
    features = residual(64).discriminator.features(torch.zeros(2, 3, 64, 64))
    assert features.shape == (2, 32)
