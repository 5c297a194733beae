"""On a GPU, steps can be recorded, and results are the same bits recorded, resumed and in any batch."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from contract.checkpoint import CheckpointHeader
from contract.training import TrainingSpec
from models import trainer
from models.batches import Batches
from models.checkpoint import load_snapshot, save_snapshot
from models.environment import NumericEnvironment, detect
from models.inference import rendering_environment
from models.recording import RecordedSteps
from models.sampler import Sampler
from models.state import TrainingState
from models.step import Step
from tests.models.conftest import MakeSpec
from tests.models.test_purity import assert_purity
from tests.models.test_recording import CASES
from tests.trained import ARCHITECTURES, spec_of
from tests.trained import trained as trained_generator

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

OBJECTIVES = ("minimax", "non_saturating", "least_squares", "hinge", "wgan_gp", "r3")
SIZE = {"latent_size": 8, "generator_width": 4, "discriminator_width": 4}
PAIRS: dict[str, dict[str, object]] = {
    f"{kind} {objective}": {"objective": objective, "architecture": {"kind": kind, **SIZE}}
    for kind in ARCHITECTURES
    for objective in OBJECTIVES
}
ALL = CASES | PAIRS
STEPS = 12


@pytest.fixture(scope="module")
def gpu() -> NumericEnvironment:
    environment = detect("cuda", 1, "auto")
    environment.apply()
    return environment


def batches_of(spec: TrainingSpec) -> Batches:
    pictures = np.random.default_rng(0).integers(0, 256, (64, 3, 32, 32), dtype=np.uint8)
    return Batches.of(spec, pictures, np.arange(64), "cuda")


def bits(state: TrainingState) -> dict[str, bytes]:
    return {name: tensor.detach().cpu().contiguous().numpy().tobytes() for name, tensor in state.tensors()}


def differing(one: TrainingState, other: TrainingState) -> list[str]:
    others = bits(other)
    return [name for name, content in bits(one).items() if content != others[name]]


def trained(state: TrainingState) -> TrainingState:
    for progress in trainer.train(state, batches_of(state.spec)):
        assert all(np.isfinite(loss) for loss in progress.read().values())
    return state


@pytest.mark.parametrize("case", ALL)
def test_recorded_run_equals_the_unrecorded_one_bit_for_bit(
    case: str,
    make_spec: MakeSpec,
    gpu: NumericEnvironment,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    spec = make_spec(batch_size=16, images=16 * STEPS, **ALL[case])
    recorded = trained(TrainingState.fresh(spec, gpu))
    assert not caplog.records
    monkeypatch.setattr(trainer, "RecordedSteps", lambda step: step)
    assert differing(recorded, trained(TrainingState.fresh(spec, gpu))) == []


@pytest.mark.parametrize("case", ALL)
def test_resumed_run_equals_the_uninterrupted_one(
    case: str, make_spec: MakeSpec, gpu: NumericEnvironment, tmp_path: Path
) -> None:
    spec = make_spec(batch_size=16, images=16 * STEPS, **ALL[case])
    straight, resumed = TrainingState.fresh(spec, gpu), TrainingState.fresh(spec, gpu)
    snapshot = tmp_path / "snapshot.safetensors"
    for progress in trainer.train(straight, batches_of(spec)):
        if progress.images_seen == spec.images // 2:
            save_snapshot(straight, snapshot)
    load_snapshot(snapshot, resumed)
    assert differing(straight, trained(resumed)) == []


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_image_has_the_same_bits_in_any_batch(kind: str, precision: str) -> None:
    spec = spec_of(kind, width=64)
    header = CheckpointHeader(job="job_" + "0" * 16, spec=spec, images_seen=spec.images)
    rendering = rendering_environment("cuda", 1).model_copy(update={"precision": precision})
    rendering.apply()
    assert_purity(Sampler(trained_generator(spec), header, rendering), range(1, 257))


def test_each_routine_is_recorded(
    make_spec: MakeSpec, gpu: NumericEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[RecordedSteps] = []

    def noted(step: Step) -> RecordedSteps:
        made.append(RecordedSteps(step))
        return made[-1]

    monkeypatch.setattr(trainer, "RecordedSteps", noted)
    trained(TrainingState.fresh(make_spec(images=2 * STEPS, objective="wgan_gp"), gpu))
    (recorded,) = made
    assert [known is not None for known in recorded._known.values()] == [True, True]
