import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from contract.architectures import DcganFc
from models.networks import Networks, build

CONVOLUTIONS = nn.Conv2d | nn.ConvTranspose2d


def article(resolution: int) -> Networks:
    return build(DcganFc(generator_width=4, discriminator_width=4, latent_size=8), resolution, 3)


@pytest.mark.parametrize("resolution", DcganFc.RESOLUTIONS)
@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_network_has_one_fully_connected_layer_and_four_convolutions(player: str, resolution: int) -> None:
    layers = list(getattr(article(resolution), player).modules())
    assert sum(isinstance(layer, nn.Linear) for layer in layers) == 1
    assert sum(isinstance(layer, CONVOLUTIONS) for layer in layers) == 4


def test_generator_starts_with_the_fully_connected_layer_and_ends_with_tanh() -> None:
    first, *_, last = article(32).generator.get_submodule("layers").children()
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Tanh)


def test_transposed_convolutions_do_not_overlap_and_a_smoothing_one_follows_each() -> None:
    layers = [layer for layer in article(32).generator.modules() if isinstance(layer, CONVOLUTIONS)]
    grow, smooth = layers[::2], layers[1::2]
    assert all(isinstance(layer, nn.ConvTranspose2d) for layer in grow)
    assert all(layer.kernel_size == layer.stride == (2, 2) for layer in grow)
    assert all(layer.kernel_size == (3, 3) and layer.stride == (1, 1) for layer in smooth)


def test_transposed_convolutions_are_initialised_to_nearest_upsampling() -> None:
    generator = article(32).generator
    generator.initialise(0)
    for layer in generator.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            grown = layer(torch.randn(1, layer.in_channels, 4, 4, generator=torch.Generator().manual_seed(0)))
            assert torch.allclose(grown, interpolate(grown[:, :, ::2, ::2], scale_factor=2))


def test_discriminator_pools_after_every_convolution_and_ends_with_the_fully_connected_layer() -> None:
    layers = list(article(32).discriminator.get_submodule("layers").children())
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in layers) == 4
    assert isinstance(layers[-1], nn.Linear)


@pytest.mark.parametrize(("resolution", "millions"), [(32, 1.1), (64, 4.2), (128, 16.9)])
def test_fully_connected_layer_has_the_documented_number_of_weights(resolution: int, millions: float) -> None:
    first = build(DcganFc(), resolution, 3).generator.get_submodule("layers.0")
    assert sum(p.numel() for p in first.parameters()) / 1e6 == pytest.approx(millions, rel=0.05)
