import pytest
import torch
from torch import Tensor, nn

from contract.architectures import Dcgan, Pair, Resnet
from models import networks
from models.environment import NumericEnvironment, detect
from models.inference import PLANS, for_inference, plan, rendering_environment
from models.networks import NETWORKS
from models.networks.pair import Generator

FAMILIES = sorted(NETWORKS, key=lambda family: family.__name__)
SIZES = [(family, resolution) for family in FAMILIES for resolution in family.RESOLUTIONS]


def lived_in(family: type[Pair] = Dcgan, resolution: int = 32) -> Generator:
    """A generator whose batch-norm statistics and shifts are not those of a fresh one."""
    kind = family.model_fields["kind"].default
    generator = networks.build(family(kind=kind, latent_size=8, generator_width=8), resolution, 3).generator
    generator.initialise(0)
    randomness = torch.Generator().manual_seed(0)
    for layer in generator.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            nn.init.normal_(layer.bias, generator=randomness)
            nn.init.normal_(layer.running_mean, std=0.1, generator=randomness)
            nn.init.uniform_(layer.running_var, 0.05, 2, generator=randomness)
    return generator.eval()


@pytest.fixture
def latents() -> Tensor:
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(("family", "resolution"), SIZES)
def test_folded_generator_makes_the_same_images(
    family: type[Pair], resolution: int, latents: Tensor, environment: NumericEnvironment
) -> None:
    generator = lived_in(family, resolution).double()
    with torch.inference_mode():
        folded = for_inference(generator, environment)(latents)
        assert (folded - generator(latents)).abs().max().item() < 1e-12


def test_batch_norms_that_do_not_follow_a_convolution_stay_in_residual_blocks(
    environment: NumericEnvironment,
) -> None:
    folded = for_inference(lived_in(Resnet), environment)
    left = sum(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    assert left == 3 + 1  # the first of each block, and the last of all


def test_no_batch_norm_is_left(environment: NumericEnvironment) -> None:
    folded = for_inference(lived_in(), environment)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())


def test_folding_does_not_change_the_generator(environment: NumericEnvironment) -> None:
    generator = lived_in()
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    for_inference(generator, environment)
    assert set(before) == set(generator.state_dict())
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())


def test_nothing_requires_a_gradient(environment: NumericEnvironment) -> None:
    assert not any(p.requires_grad for p in for_inference(lived_in(), environment).parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_weights_are_the_folded_ones_rounded_once(
    family: type[Pair], environment: NumericEnvironment
) -> None:
    exact = for_inference(lived_in(family), environment).state_dict()
    rounded = for_inference(lived_in(family), environment, "bfloat16")
    norms = {
        f"{name}.{tensor}"
        for name, layer in rounded.named_modules()
        if isinstance(layer, nn.BatchNorm2d)
        for tensor in layer.state_dict()
    }
    same = [name for name, tensor in rounded.state_dict().items() if tensor.shape == exact[name].shape]
    assert len(exact) - len(same) in (0, 2)  # the last convolution's, if it is shuffled
    for name in same:
        expected = exact[name] if name in norms else exact[name].bfloat16()
        assert torch.equal(rounded.state_dict()[name], expected), name


@pytest.mark.parametrize(("family", "resolution"), SIZES)
def test_bfloat16_images_differ_by_less_than_two_levels_on_average(
    family: type[Pair], resolution: int, latents: Tensor, environment: NumericEnvironment
) -> None:
    with torch.inference_mode():
        exact = for_inference(lived_in(family, resolution), environment)(latents.float())
        rounded = for_inference(lived_in(family, resolution), environment, "bfloat16")(latents.bfloat16())
    assert rounded.dtype == torch.bfloat16
    assert (rounded - exact).abs().mean().item() * 127.5 < 2


def test_every_device_has_a_plan_with_power_of_two_buckets() -> None:
    assert set(PLANS) == {(device, unit) for device in ("cpu", "cuda") for unit in ("float32", "bfloat16")}
    for fastest in PLANS.values():
        assert fastest.smallest_bucket.bit_count() == fastest.largest_bucket.bit_count() == 1
        assert 0 <= fastest.most_padding <= 1


@pytest.mark.parametrize(("units", "precision"), [({}, "float32"), ({"avx512_bf16": True}, "bfloat16")])
def test_rendering_precision_follows_from_the_hardware_of_the_device(
    units: dict[str, bool], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)
    rendering = rendering_environment("cpu", 1)
    assert (rendering.precision, rendering.layout) == (precision, plan(rendering).layout)
    assert rendering.fingerprint != detect("cpu", 2, "auto").fingerprint
