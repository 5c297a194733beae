"""Every preset gets through its beginning on real pictures: no guard rejects a healthy young run."""

from typing import get_args

import pytest

from contract.presets import PresetName
from contract.volume import Volume
from models.course import YOUNG_STEPS
from tests.conftest import proof
from tests.worker.training_child import carry_out, clothes, order_for
from worker import link

PRESETS = get_args(PresetName)[:: proof(3, 1)]
"""`fast` and `article`; all of them in `make proof`."""
PICTURES = proof(400, 1000)
WIDTH = proof(4, 32)
LONGER = 1.3
"""Length of the run, relative to its beginning."""
LOOKS = proof(3, 6)

pytestmark = pytest.mark.timeout(proof(600, 3600))


@pytest.mark.parametrize("preset", PRESETS)
def test_healthy_run_gets_through_its_beginning_without_a_warning(volume: Volume, preset: PresetName) -> None:
    order = order_for(
        volume, clothes(PICTURES), preset=preset, images=10_000, batch_size=None, architecture=None
    )
    usual = order.spec
    batch_size = proof(8, usual.batch_size)
    steps = YOUNG_STEPS * usual.objective.discriminator_steps
    images = round(LONGER * steps) * batch_size
    narrow = {"generator_width": WIDTH, "discriminator_width": WIDTH}
    changed = {
        "batch_size": batch_size,
        "images": images,
        "architecture": usual.architecture.model_copy(update=narrow),
        "evaluation": usual.evaluation.model_copy(update={"every_images": images // LOOKS}),
        "checkpoint_every_images": images,
        "preview_every_images": images,
    }
    said = carry_out(order.model_copy(update={"spec": usual.model_copy(update=changed)}))
    judged = [message for message in said if isinstance(message, link.Judged)]
    assert len(judged) >= LOOKS
    assert [one.warning for one in judged if one.warning] == []
    assert isinstance(said[-1], link.Finished)
    distances = [one.evaluation.frechet.value for one in judged if one.evaluation]
    assert distances[-1] < distances[0]
