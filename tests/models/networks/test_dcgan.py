from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from contract.architectures import Dcgan, Norm
from contract.training import TrainingSpec
from models.networks import Networks, build, winograd
from models.networks.strided import allow_shortcuts

MakeSpec = Callable[..., TrainingSpec]


def tiny(resolution: int = 32, width: int = 4) -> Networks:
    architecture = Dcgan(latent_size=8, generator_width=width, discriminator_width=width)
    networks = build(architecture, resolution, 3)
    networks.generator.initialise(0)
    networks.discriminator.initialise(0)
    return networks


def test_widths_double_with_every_halving_up_to_eight_times() -> None:
    layers = tiny(128, width=4).generator.modules()
    widths = [layer.num_features for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    assert widths == [32, 32, 16, 8, 4]


def test_layers_have_the_names_in_released_checkpoints() -> None:
    names = {name for name, _ in tiny().discriminator.named_parameters()}
    kernels = {f"layers.{layer}.weight" for layer in (0, 2, 3, 5, 6, 8)}
    assert names == kernels | {f"layers.{layer}.bias" for layer in (0, 3, 6, 8)}


def test_spec_without_a_discriminator_norm_means_batch_norm(make_spec: MakeSpec) -> None:
    stored = make_spec(objective="wgan_gp").model_dump()
    del stored["architecture"]["discriminator_norm"]
    spec = TrainingSpec.model_validate(stored)
    discriminator = build(spec.architecture, spec.resolution, spec.channels).discriminator
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in discriminator.modules())


def test_weights_are_initialised_as_in_the_paper() -> None:
    layers = list(tiny(width=64).discriminator.modules())
    kernels = torch.cat([layer.weight.flatten() for layer in layers if isinstance(layer, nn.Conv2d)])
    gains = torch.cat([layer.weight.flatten() for layer in layers if isinstance(layer, nn.BatchNorm2d)])
    assert kernels.mean().item() == pytest.approx(0, abs=1e-3)
    assert kernels.std().item() == pytest.approx(0.02, rel=0.01)
    assert gains.mean().item() == pytest.approx(1, abs=0.01)
    assert gains.std().item() == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_batches_scored_together_are_multiplied_together(norm: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same scores, statistics and gradients as one after the other."""
    architecture = Dcgan(latent_size=8, generator_width=4, discriminator_width=64, discriminator_norm=norm)
    together, apart = (build(architecture, 32, 3).discriminator for _ in range(2))
    for discriminator in (together, apart):
        discriminator.initialise(0)
    halved: list[int] = []

    halve = winograd.halve

    def counted(images: Sequence[Tensor], kernel: Tensor) -> tuple[Tensor, ...]:
        halved.append(len(images))
        return halve(images, kernel)

    monkeypatch.setattr(winograd, "halve", counted)
    allow_shortcuts(together)
    random = torch.Generator().manual_seed(0)
    reals, fakes = (scale * torch.randn(16, 3, 32, 32, generator=random) for scale in (1, 2))
    scores = together.scores_of_each([reals, fakes])
    assert halved == [2, 2]
    expected = [apart(reals), apart(fakes)]
    torch.testing.assert_close(list(scores), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.state_dict(), apart.state_dict())
    for real_scores, fake_scores in (scores, expected):
        (fake_scores - real_scores).square().sum().backward()
    for found, wanted in zip(together.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-3, atol=1e-4)
