"""Every preset gets through its beginning on real pictures: no guard takes a sound beginner for lost."""

from typing import get_args

import pytest

from contract.presets import PresetName
from contract.volume import Volume
from models import objectives
from models.guards import YOUNG_STEPS
from tests.conftest import proof
from tests.worker.training_child import carry_out, clothes, order_for
from worker import link

PICTURES = 1000
WIDTH = 32
LONGER = 1.3
"""Than the beginning."""
LOOKS = 6

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not proof(0, 1), reason="takes many minutes: make proof"),
]


@pytest.mark.parametrize("preset", get_args(PresetName))
def test_a_sound_run_gets_through_its_beginning(volume: Volume, preset: PresetName) -> None:
    usual = order_for(volume, clothes(PICTURES), preset=preset, batch_size=None, architecture=None).spec
    batch_size = usual.batch_size
    steps = YOUNG_STEPS * objectives.build(usual.objective).discriminator_steps
    images = round(LONGER * steps) * batch_size
    said = carry_out(
        order_for(
            volume,
            clothes(PICTURES),
            preset=preset,
            batch_size=batch_size,
            images=images,
            architecture={
                "kind": usual.architecture.kind,
                "generator_width": WIDTH,
                "discriminator_width": WIDTH,
            },
            evaluation={"every_images": images // LOOKS},
        )
    )
    judged = [message for message in said if isinstance(message, link.Judged)]
    assert len(judged) >= LOOKS
    assert [one.warning for one in judged if one.warning] == []
    assert isinstance(said[-1], link.Finished)
    distances = [one.evaluation.frechet.value for one in judged if one.evaluation]
    assert distances[-1] < distances[0]
