import pytest
import torch
from torch import Tensor, nn

from contract.architectures import Dcgan, Pair, Resnet
from models import networks
from models.environment import NumericEnvironment
from models.inference import for_inference
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


def test_residual_blocks_keep_the_batch_norm_that_no_convolution_comes_before(
    environment: NumericEnvironment,
) -> None:
    folded = for_inference(lived_in(Resnet), environment)
    left = sum(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    assert left == 3 + 1  # the first of each block, and the last of all


def test_no_batch_norm_is_left(environment: NumericEnvironment) -> None:
    folded = for_inference(lived_in(), environment)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())


def test_folding_leaves_the_generator_alone(environment: NumericEnvironment) -> None:
    generator = lived_in()
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    for_inference(generator, environment)
    assert set(before) == set(generator.state_dict())
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())


def test_nothing_requires_a_gradient(environment: NumericEnvironment) -> None:
    assert not any(p.requires_grad for p in for_inference(lived_in(), environment).parameters())
