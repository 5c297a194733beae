"""Every preset trains at every promised size, grey and in colour: as a job, but with tiny networks.

`make test` covers each preset at two of the three sizes, once grey and once in colour; `make proof` all.
"""

import itertools
import math

import pytest
import torch

from contract.presets import PRESETS, PresetName
from contract.training import JobRequest, resolve
from contract.volume import Volume
from models.checkpoint import load_checkpoint
from tests.conftest import proof
from tests.specs import FourHundred
from tests.worker.training_child import DATASET, TINY, carry_out, clothes, order_for
from worker import link

PICTURES = 16
"""The fewest that are evaluated."""
BATCH_SIZE = 2
IMAGES = 5 * BATCH_SIZE
"""Up to the generator's first step in `wgan-gp`."""


def cases() -> list[tuple[PresetName, int, int]]:
    """All cases, starting with those that give each preset two sizes, one grey and one in colour."""
    choices = (tuple(PRESETS), (32, 64, 128), (1, 3))
    places = itertools.product(*(range(len(choice)) for choice in choices))
    squares = sorted(places, key=lambda place: sum(place) % 3)
    return [(choices[0][p], choices[1][r], choices[2][c]) for p, r, c in squares]


CASES = cases()[: proof(2 * len(PRESETS), 10**6)]


def tiny(preset: PresetName) -> dict[str, object]:
    """The preset's architecture, of tiny width."""
    chosen = resolve(JobRequest(dataset=DATASET, preset=preset), FourHundred()).architecture
    return TINY | {"kind": chosen.kind}


@pytest.mark.parametrize(("preset", "resolution", "channels"), CASES)
def test_preset_trains_is_evaluated_and_publishes(
    volume: Volume, preset: PresetName, resolution: int, channels: int
) -> None:
    order = order_for(
        volume,
        clothes(PICTURES),
        preset=preset,
        resolution=resolution,
        channels=channels,
        architecture=tiny(preset),
        images=IMAGES,
        batch_size=BATCH_SIZE,
        checkpoint_every_images=IMAGES,
        preview_every_images=IMAGES,
    )
    said = carry_out(order)
    assert isinstance(said[-1], link.Finished), said[-1]
    (evaluation,) = [message.evaluation for message in said if isinstance(message, link.Judged)]
    assert evaluation is not None
    assert {"generator", "discriminator"} <= evaluation.losses.keys()
    assert all(map(math.isfinite, [*evaluation.metrics.values(), *evaluation.losses.values()]))
    (fact,) = [message.checkpoint for message in said if isinstance(message, link.Published)]
    assert fact.metrics == evaluation.metrics
    generator, header = load_checkpoint(volume.checkpoint(order.job, fact.file), fact.digest)
    assert (header.images_seen, header.spec.preset) == (IMAGES, preset)
    assert generator(torch.zeros(1, 4)).shape == (1, channels, resolution, resolution)
