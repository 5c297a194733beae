"""Strided layers take shortcuts in training where these are faster, and are plain convolutions elsewhere."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from contract.training import TrainingSpec
from models.environment import NumericEnvironment
from models.networks import subpixels
from models.networks.resampling import GrowingConv2d, ShrinkingConv2d
from models.networks.strided import DoublingConv2d, HalvingConv2d, StridedLayer, allow_shortcuts
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
    allow_shortcuts(made)
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


@pytest.mark.parametrize(("batch", "expected"), [(BATCH // 2, SMALL_TILES), (2 * BATCH, LARGE_TILES)])
def test_several_batches_count_as_one(batch: int, expected: float) -> None:
    layer = HalvingConv2d(128, 256)
    allow_shortcuts(layer)
    features = features_of(layer, batch)
    with MultiplyAdds() as counter:
        results = layer.of_each([features, 2 * features])
    unit = 2 * batch * SIZE**2 * 128 * 256
    assert expected < counter.count / unit < expected + MAPS * PLAIN
    for result, factor in zip(results, (1, 2), strict=True):
        torch.testing.assert_close(result, layer.eval()(factor * features), atol=1e-4, rtol=1e-4)


def test_a_small_batch_is_convolved(layer: Layer) -> None:
    assert products(layer, features_of(layer, batch=2)) == PLAIN


@pytest.mark.parametrize("layer", [HalvingConv2d(128, 256), DoublingConv2d(256, 3)], ids=str)
def test_a_bias_keeps_the_precision(layer: Layer) -> None:
    allow_shortcuts(layer)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(features_of(layer)).dtype == torch.bfloat16


@pytest.mark.parametrize("shape", [(18, 18), (16, 32), (17, 17)])
def test_other_shapes_are_convolved(shape: tuple[int, int]) -> None:
    layer = HalvingConv2d(128, 256)
    allow_shortcuts(layer)
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
    allow_shortcuts(layer)
    assert layer(features_of(layer), output_size=[17, 17]).shape[2:] == (17, 17)


def test_a_layer_of_64_channels_is_wide() -> None:
    layer = HalvingConv2d(64, 256)
    allow_shortcuts(layer)
    assert products(layer, features_of(layer, batch=16)) < PLAIN


@pytest.mark.parametrize("channels", [(3, 512), (512, 3), (63, 256)])
def test_a_narrow_layer_is_convolved(channels: tuple[int, int]) -> None:
    layer = HalvingConv2d(*channels)
    allow_shortcuts(layer)
    assert products(layer, features_of(layer, batch=256)) == PLAIN


@pytest.fixture
def rearranged(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What has been rearranged for sub-pixels."""
    images: list[Tensor] = []

    def counted(image: Tensor, factor: int) -> Tensor:
        images.append(image)
        return nn.functional.pixel_unshuffle(image, factor)

    monkeypatch.setattr(subpixels, "pixel_unshuffle", counted)
    return images


def of_colours(kind: type[Layer], colours: int) -> Layer:
    """A layer between an image and eight features, in train mode."""
    made = kind(colours, 8) if kind in {HalvingConv2d, ShrinkingConv2d} else kind(8, colours)
    allow_shortcuts(made)
    return made


@pytest.mark.parametrize("shape", [(8, 8), (6, 10)])
@pytest.mark.parametrize("colours", [1, 3, 4])
@pytest.mark.parametrize("kind", LAYERS)
def test_an_images_few_channels_are_taken_for_subpixels(
    kind: type[Layer], colours: int, shape: tuple[int, int], rearranged: list[Tensor]
) -> None:
    layer = of_colours(kind, colours)
    random = torch.Generator().manual_seed(0)
    features = torch.randn(2, layer.in_channels, *shape, generator=random).requires_grad_()
    leaves = [features, *layer.parameters()]
    shortcut = layer(features)
    assert rearranged
    plain = layer.eval()(features)
    torch.testing.assert_close(shortcut, plain)
    gradients = (torch.autograd.grad(result.square().sum(), leaves) for result in (shortcut, plain))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [DoublingConv2d, GrowingConv2d])
def test_images_made_of_subpixels_are_in_channels_last(kind: type[Layer]) -> None:
    assert of_colours(kind, 3)(torch.zeros(2, 8, 8, 8)).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind", [HalvingConv2d, ShrinkingConv2d])
def test_an_image_that_needs_no_gradient_is_convolved(kind: type[Layer], rearranged: list[Tensor]) -> None:
    of_colours(kind, 3)(torch.zeros(2, 3, 8, 8))
    assert not rearranged


@pytest.mark.parametrize("kind", LAYERS)
def test_more_channels_and_eval_mode_use_no_subpixels(kind: type[Layer], rearranged: list[Tensor]) -> None:
    for layer in (of_colours(kind, 5), of_colours(kind, 3).eval()):
        layer(torch.zeros(2, layer.in_channels, 8, 8, requires_grad=True))
    assert not rearranged


@pytest.mark.parametrize("shape", [(9, 8), (8, 9), (9, 9)])
def test_images_with_odd_sides_use_no_subpixels(shape: tuple[int, int], rearranged: list[Tensor]) -> None:
    of_colours(HalvingConv2d, 3)(torch.zeros(2, 3, *shape, requires_grad=True))
    assert not rearranged


def test_layers_take_no_shortcuts_unasked(rearranged: list[Tensor]) -> None:
    assert products(HalvingConv2d(128, 256), torch.zeros(BATCH, 128, 16, 16)) == PLAIN
    HalvingConv2d(3, 8)(torch.zeros(2, 3, 8, 8, requires_grad=True))
    DoublingConv2d(8, 3)(torch.zeros(2, 8, 8, 8))
    assert not rearranged


@pytest.mark.parametrize(
    ("device", "layout", "expected"),
    [("cpu", "channels_last", True), ("cpu", "contiguous", False), ("cuda", "channels_last", False)],
)
def test_rehearsals_count_shortcuts_on_cpus_in_channels_last(
    device: str, layout: str, expected: bool, make_spec: MakeSpec, environment: NumericEnvironment
) -> None:
    networks = {"kind": "dcgan", "latent_size": 8, "generator_width": 64, "discriminator_width": 64}
    spec = make_spec(architecture=networks, batch_size=32)
    plain = environment.model_copy(update={"layout": "contiguous"})
    chosen = environment.model_copy(update={"device": device, "layout": layout})
    assert (rehearse(spec, chosen).peak > 1.5 * rehearse(spec, plain).peak) is expected


@pytest.mark.parametrize(("layout", "expected"), [("channels_last", True), ("contiguous", False)])
def test_runs_take_shortcuts_in_channels_last(
    layout: str, expected: bool, spec: TrainingSpec, environment: NumericEnvironment
) -> None:
    state = TrainingState.blank(spec, environment.model_copy(update={"layout": layout}))
    for network in (state.generator, state.discriminator):
        allowed = {layer.may_take_shortcuts for layer in network.modules() if isinstance(layer, StridedLayer)}
        assert allowed == {expected}
