"""The largest batch that a sampler renders keeps within memory and time, whatever the generator."""

from collections.abc import Callable

import pytest
import torch

from contract.checkpoint import CheckpointHeader
from contract.training import TrainingSpec
from models import largest_batch as limits
from models import networks
from models.cost import Cost
from models.environment import NumericEnvironment
from models.largest_batch import largest_batch
from models.sampler import Sampler
from models.tally import Tally

MakeSpec = Callable[..., TrainingSpec]


def spec_of(make_spec: MakeSpec, kind: str, resolution: int, width: int) -> TrainingSpec:
    return make_spec(architecture={"kind": kind, "generator_width": width}, resolution=resolution, channels=3)


@pytest.mark.parametrize(
    ("kind", "resolution"),
    [("dcgan", 32), ("dcgan", 128), ("dcgan_fc", 128), ("resnet", 128)],
)
def test_default_widths_are_rendered_in_full_batches(make_spec: MakeSpec, kind: str, resolution: int) -> None:
    usual = make_spec(architecture=kind, resolution=resolution, channels=3)
    assert largest_batch(usual, 64) == 64


@pytest.mark.parametrize(
    ("kind", "resolution"), [("dcgan", 256), ("dcgan_fc", 128), ("resnet", 32), ("resnet", 128)]
)
def test_the_widest_keep_within_the_limits_and_use_them(
    make_spec: MakeSpec, kind: str, resolution: int
) -> None:
    spec = spec_of(make_spec, kind, resolution, 512)
    multiply_adds_each = Cost.of(spec).generator
    batch = largest_batch(spec, 64)
    assert batch < 64
    assert batch == 1 or activations(spec, batch) <= limits.MOST_BYTES
    assert batch == 1 or batch * multiply_adds_each <= limits.MOST_MULTIPLY_ADDS
    is_too_slow = 2 * batch * multiply_adds_each > limits.MOST_MULTIPLY_ADDS
    assert is_too_slow or activations(spec, 2 * batch) > limits.MOST_BYTES
    assert largest_batch(spec, 2 * batch) == batch
    assert largest_batch(spec, batch) == batch


def test_a_pass_that_computes_too_long_is_halved_too(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(make_spec, "dcgan", 64, 64)
    monkeypatch.setattr(limits, "MOST_MULTIPLY_ADDS", 10**9)  # an image takes about 10^8
    assert largest_batch(spec, 64) == 8


def test_sampler_never_renders_a_larger_batch(
    make_spec: MakeSpec, environment: NumericEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(make_spec, "dcgan", 32, 8)
    generator = networks.build(spec.architecture, spec.resolution, spec.channels).generator
    generator.initialise(0)
    monkeypatch.setattr(limits, "MOST_BYTES", activations(spec, 5))
    sampler = Sampler(
        generator, CheckpointHeader(job="job_" + "0" * 16, spec=spec, images_seen=0), environment
    )
    assert sampler.buckets[-1] == 4
    pixels = sampler.render(range(9))
    assert (pixels == sampler.render(range(8, -1, -1))[::-1]).all()


def activations(spec: TrainingSpec, batch: int) -> int:
    """Bytes that one forward pass keeps alive at most, besides what layers compute from their weights."""
    generator = networks.sketch(spec.architecture, spec.resolution, spec.channels).generator.eval()
    peaks: list[int] = []
    for count in (1, batch + 1):
        with torch.no_grad(), Tally("meta") as tally:
            generator(torch.empty(count, generator.latent_size, device="meta"))
        peaks.append(tally.peak)
    return peaks[1] - peaks[0]
