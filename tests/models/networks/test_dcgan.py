from collections.abc import Callable

import pytest
import torch
from torch import nn

from contract.architectures import Dcgan
from contract.training import TrainingSpec
from models.networks import Networks, build

MakeSpec = Callable[..., TrainingSpec]

EVERY_SIZE = [(resolution, channels) for resolution in Dcgan.RESOLUTIONS for channels in (1, 3)]


def tiny(resolution: int = 32, channels: int = 3, width: int = 4, seed: int = 0) -> Networks:
    architecture = Dcgan(latent_size=8, generator_width=width, discriminator_width=width)
    networks = build(architecture, resolution, channels)
    networks.generator.initialise(seed)
    networks.discriminator.initialise(seed)
    return networks


@pytest.mark.parametrize(("resolution", "channels"), EVERY_SIZE)
def test_generator_makes_images_in_range(resolution: int, channels: int) -> None:
    images = tiny(resolution, channels).generator(torch.ones(2, 8))
    assert images.shape == (2, channels, resolution, resolution)
    assert images.abs().max() <= 1


@pytest.mark.parametrize(("resolution", "channels"), EVERY_SIZE)
def test_discriminator_gives_one_score_per_image(resolution: int, channels: int) -> None:
    scores = tiny(resolution, channels).discriminator(torch.zeros(3, channels, resolution, resolution))
    assert scores.shape == (3,)


def test_scores_are_logits() -> None:
    modules = tiny().discriminator.modules()
    assert not any(isinstance(module, nn.Sigmoid | nn.Tanh | nn.Softmax) for module in modules)


def test_widths_double_with_every_halving_up_to_eight_times() -> None:
    layers = tiny(128, width=4).generator.modules()
    widths = [layer.num_features for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    assert widths == [32, 32, 16, 8, 4]


def test_layers_have_the_names_that_released_checkpoints_have() -> None:
    names = {name for name, _ in tiny().discriminator.named_parameters()}
    kernels = {f"layers.{layer}.weight" for layer in (0, 2, 3, 5, 6, 8)}
    assert names == kernels | {f"layers.{layer}.bias" for layer in (0, 3, 6, 8)}


def test_specification_from_before_the_norm_was_a_choice_means_batch_norm(make_spec: MakeSpec) -> None:
    spec = make_spec(objective="wgan_gp")
    discriminator = build(spec.architecture, spec.resolution, spec.channels).discriminator
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in discriminator.modules())


def test_weights_are_a_function_of_the_seed() -> None:
    same, other = tiny(seed=1).generator.state_dict(), tiny(seed=2).generator.state_dict()
    for name, tensor in tiny(seed=1).generator.state_dict().items():
        assert torch.equal(tensor, same[name])
    assert not torch.equal(same["layers.0.weight"], other["layers.0.weight"])


def test_initialisation_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    tiny()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_weights_begin_as_in_the_paper() -> None:
    layers = list(tiny(width=64).discriminator.modules())
    kernels = torch.cat([layer.weight.flatten() for layer in layers if isinstance(layer, nn.Conv2d)])
    gains = torch.cat([layer.weight.flatten() for layer in layers if isinstance(layer, nn.BatchNorm2d)])
    assert kernels.mean().item() == pytest.approx(0, abs=1e-3)
    assert kernels.std().item() == pytest.approx(0.02, rel=0.01)
    assert gains.mean().item() == pytest.approx(1, abs=0.01)
    assert gains.std().item() == pytest.approx(0.02, rel=0.2)
