import copy

import pytest
import torch
from torch import Tensor, nn

from contract.architectures import Dcgan, Pair, Resnet
from contract.devices import Precision
from models import packing
from models.environment import NumericEnvironment
from models.inference import for_inference
from models.networks.layers import FromPoint, Square
from models.networks.pair import Generator
from models.packing import can_pack, pack
from tests.models.test_inference import FAMILIES, lived_in

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ROUNDING = {"float32": 1e-5, "bfloat16": 2**-5}
"""Tolerances for images in [-1, 1]; in bfloat16, packing applies activations before rounding, not after."""

pytestmark = pytest.mark.skipif(not can_pack(), reason="needs oneDNN on x86")


def both(family: type[Pair], environment: NumericEnvironment, precision: Precision) -> list[Generator]:
    plain = for_inference(lived_in(family), environment, precision)
    return [plain, pack(copy.deepcopy(plain))]


def latents(count: int, precision: Precision = "float32") -> Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(1)).to(DTYPES[precision])


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_generator_makes_the_same_images(
    family: type[Pair], precision: Precision, environment: NumericEnvironment
) -> None:
    plain, packed = both(family, environment, precision)
    with torch.inference_mode():
        images = plain(latents(5, precision))
        assert images.std().item() > 0.05
        assert (packed(latents(5, precision)) - images).abs().max().item() < ROUNDING[precision]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_convolution_is_packed_with_the_activation_after_it(
    family: type[Pair], environment: NumericEnvironment
) -> None:
    plain, packed = both(family, environment, "float32")
    assert not any(isinstance(layer, CONVOLUTIONS) for layer in packed.modules())
    activations = [layer for layer in packed.modules() if isinstance(layer, nn.ReLU | nn.LeakyReLU)]
    after_batch_norm = 2 * 3 - 2 if family is Resnet else 0
    assert len(activations) == after_batch_norm + (family is not Resnet and _is_linear_first(plain))


def _is_linear_first(generator: Generator) -> bool:
    """Whether it has a linear layer: in float32 that is not packed and keeps the activation after it."""
    return any(isinstance(layer, nn.Linear) for layer in generator.modules())


def test_linear_layers_are_packed_only_in_bfloat16_with_hardware_support(
    environment: NumericEnvironment,
) -> None:
    for precision in DTYPES:
        _, packed = both(Resnet, environment, precision)
        left = any(isinstance(layer, nn.Linear) for layer in packed.modules())
        assert left == (precision == "float32" or not torch.ops.mkldnn._is_mkldnn_bf16_supported())


def test_layer_from_a_point_is_a_matrix_product_only_in_bfloat16(environment: NumericEnvironment) -> None:
    for precision in DTYPES:
        plain, packed = both(Dcgan, environment, precision)
        assert any(isinstance(layer, FromPoint) for layer in plain.modules())
        is_product = any(isinstance(layer, Square) for layer in packed.modules())
        assert is_product == (precision == "bfloat16" and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def test_packed_weights_count_as_memory(environment: NumericEnvironment) -> None:
    plain, packed = both(FAMILIES[0], environment, "float32")

    def size(generator: Generator) -> int:
        return sum(tensor.nbytes for tensor in generator.state_dict().values())

    assert size(packed) >= size(plain)


def test_generator_is_unchanged_if_an_operator_is_missing(
    environment: NumericEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(packing._OPERATORS, nn.Linear, ("_no_such_operator", "_linear_pointwise"))
    plain, left = both(FAMILIES[0], environment, "float32")
    assert [type(layer) for layer in left.modules()] == [type(layer) for layer in plain.modules()]
