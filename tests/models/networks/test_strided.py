"""Strided layers train by Winograd's algorithm where that is faster, and are plain convolutions elsewhere."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from contract.training import TrainingSpec
from models.environment import NumericEnvironment
from models.networks.resampling import GrowingConv2d, ShrinkingConv2d
from models.networks.strided import DoublingConv2d, HalvingConv2d, StridedLayer, allow_winograd
from models.rehearsal import rehearse
from models.state import TrainingState
from tests.models.counting import MultiplyAdds

MakeSpec = Callable[..., TrainingSpec]
Layer = HalvingConv2d | DoublingConv2d | GrowingConv2d | ShrinkingConv2d
LAYERS = [HalvingConv2d, DoublingConv2d, GrowingConv2d, ShrinkingConv2d]
BATCH, SIZE = 8, 8
"""With 128 and 256 channels these are exactly `LEAST_PRODUCTS`."""

PLAIN, SMALL_TILES, LARGE_TILES = 16, 9, 6.25
"""Multiply-adds for each image, pixel of the smaller side, and pair of channels."""
MAPS = 0.1
"""What the maps around Winograd's products may add, as a share of the convolution's."""


def products(layer: Layer, features: Tensor) -> float:
    """The multiply-adds of a forward pass, in the unit of the two constants."""
    with MultiplyAdds() as counter:
        result = layer(features)
    smaller = min(features, result, key=lambda side: side.shape[-1])
    pixels = len(smaller) * smaller.shape[-2] * smaller.shape[-1]
    return float(counter.count / (pixels * layer.in_channels * layer.out_channels))


def features_of(layer: Layer, batch: int = BATCH) -> Tensor:
    random = torch.Generator().manual_seed(0)
    side = 2 * SIZE if isinstance(layer, HalvingConv2d | ShrinkingConv2d) else SIZE
    return torch.randn(batch, layer.in_channels, side, side, generator=random)


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> Layer:
    """A layer that is wide enough, in train mode, with 256 channels on its smaller side."""
    shrinks = request.param in {HalvingConv2d, ShrinkingConv2d}
    made: Layer = request.param(*((128, 256) if shrinks else (256, 128)))
    nn.init.normal_(made.weight, std=0.02, generator=torch.Generator().manual_seed(1))
    allow_winograd(made)
    return made


@pytest.mark.parametrize(("batch", "expected"), [(BATCH, SMALL_TILES), (4 * BATCH, LARGE_TILES)])
def test_trains_by_winograds_algorithm(layer: Layer, batch: int, expected: float) -> None:
    assert expected < products(layer, features_of(layer, batch)) < expected + MAPS * PLAIN


def test_is_a_convolution_in_eval_mode(layer: Layer) -> None:
    assert products(layer.eval(), features_of(layer)) == PLAIN


def test_both_ways_agree(layer: Layer) -> None:
    features = features_of(layer)
    trained = layer(features)
    torch.testing.assert_close(trained, layer.eval()(features), atol=1e-5, rtol=1e-5)


def test_a_small_batch_is_convolved(layer: Layer) -> None:
    assert products(layer, features_of(layer, batch=2)) == PLAIN


def test_a_bias_keeps_the_precision() -> None:
    layer = HalvingConv2d(128, 256)
    allow_winograd(layer)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(features_of(layer)).dtype == torch.bfloat16


@pytest.mark.parametrize("shape", [(18, 18), (16, 32), (17, 17)])
def test_other_shapes_are_convolved(shape: tuple[int, int]) -> None:
    layer = HalvingConv2d(128, 256)
    allow_winograd(layer)
    assert products(layer, torch.zeros(16, 128, *shape)) == PLAIN


def test_what_follows_may_change_the_result_in_place(layer: Layer) -> None:
    layer.bias = None
    layer.eval()
    expected = nn.functional.leaky_relu(layer(features_of(layer)), 0.2)
    layer.train()
    found = nn.functional.leaky_relu(layer(features_of(layer)), 0.2, inplace=True)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_wanted_size_is_respected() -> None:
    layer = DoublingConv2d(128, 256)
    allow_winograd(layer)
    assert layer(features_of(layer), output_size=[17, 17]).shape[2:] == (17, 17)


def test_a_layer_of_64_channels_is_wide() -> None:
    layer = HalvingConv2d(64, 256)
    allow_winograd(layer)
    assert products(layer, features_of(layer, batch=16)) < PLAIN


@pytest.mark.parametrize("channels", [(3, 512), (512, 3), (63, 256)])
def test_a_narrow_layer_is_convolved(channels: tuple[int, int]) -> None:
    layer = HalvingConv2d(*channels)
    allow_winograd(layer)
    assert products(layer, features_of(layer, batch=256)) == PLAIN


def test_layers_do_not_use_it_unasked() -> None:
    assert products(HalvingConv2d(128, 256), torch.zeros(BATCH, 128, 16, 16)) == PLAIN


@pytest.mark.parametrize(
    ("device", "layout", "expected"),
    [("cpu", "channels_last", True), ("cpu", "contiguous", False), ("cuda", "channels_last", False)],
)
def test_rehearsals_count_it_on_cpus_in_channels_last(
    device: str, layout: str, expected: bool, make_spec: MakeSpec, environment: NumericEnvironment
) -> None:
    networks = {"kind": "dcgan", "latent_size": 8, "generator_width": 64, "discriminator_width": 64}
    spec = make_spec(architecture=networks, batch_size=32)
    plain = environment.model_copy(update={"layout": "contiguous"})
    chosen = environment.model_copy(update={"device": device, "layout": layout})
    assert (rehearse(spec, chosen).peak > 1.5 * rehearse(spec, plain).peak) is expected


@pytest.mark.parametrize(("layout", "expected"), [("channels_last", True), ("contiguous", False)])
def test_runs_use_it_in_channels_last(
    layout: str, expected: bool, spec: TrainingSpec, environment: NumericEnvironment
) -> None:
    state = TrainingState.blank(spec, environment.model_copy(update={"layout": layout}))
    for network in (state.generator, state.discriminator):
        allowed = {layer.may_use_winograd for layer in network.modules() if isinstance(layer, StridedLayer)}
        assert allowed == {expected}
