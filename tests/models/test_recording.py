"""Launching a recorded step has the same effect as taking the step itself.

These tests need no GPU: the graph is faked by a log of all operations on the same tensors, which like a graph
replays no Python. `tests/models/test_gpu.py` tests on a GPU what only CUDA can refuse.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from contract.augmentation import DiffAugment
from contract.training import TrainingSpec
from models import graphs, trainer
from models.batches import Batches
from models.environment import NumericEnvironment
from models.ranks import Alone
from models.recording import RecordedSteps
from models.rules import Routine, Rules
from models.state import TrainingState
from models.step import Drawn, Step
from models.watch import Adjustments, Watch
from tests.conftest import proof
from tests.models.conftest import MakeBatches, MakeSpec

Operation = Callable[..., Any]


class Log(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A log of every operation on tensors, with its arguments and its result."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._done: list[tuple[Operation, tuple[Any, ...], Mapping[str, Any], Any]] = []

    def __torch_dispatch__(
        self, operation: Operation, types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        noted = tree_map(_alias, args)
        result = operation(*args, **(kwargs or {}))
        self._done.append((operation, noted, kwargs or {}, tree_map(_alias, result)))
        return result

    @torch.no_grad()
    def again(self) -> None:
        """Replay all operations in the same memory."""
        for operation, args, kwargs, result in self._done:
            done = operation(*tree_map(_alias, args), **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(done), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def _alias(given: Any) -> Any:
    """An alias of the memory with a fixed shape, because some operations change that of their arguments."""
    return torch.ops.aten.alias(given.detach()) if isinstance(given, Tensor) else given


class LoggedGraph:
    """A fake `models.graphs.Graph`; as in the real one, recording has no visible effect on the state."""

    pool = None
    count = 0
    state: TrainingState

    def __init__(self, compute: Callable[[], Tensor], _pool: object) -> None:
        type(self).count += 1
        before = {name: tensor.clone() for name, tensor in self.state.tensors()}
        self._log = Log()
        with self._log:
            self._result = compute()
        with torch.no_grad():
            for name, tensor in self.state.tensors():
                tensor.copy_(before[name])

    def launch(self) -> Tensor:
        self._log.again()
        return self._result.clone()


class OnAGpu(Step):
    """Records its steps, as on a GPU."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._recorded = RecordedSteps(Step(*given))

    def take(self, routine: Routine, drawn: Drawn) -> dict[str, Tensor]:
        return self._recorded.take(routine, drawn)


def as_on_a_gpu(state: TrainingState) -> TrainingState:
    """Turn the learning rates into tensors, as on a GPU. In place."""
    for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(group["lr"])
    return state


CASES: dict[str, dict[str, object]] = {
    "critic": {"objective": {"kind": "wgan_gp", "critic_steps": 2}},
    "spectral": {
        "architecture": {
            "kind": "dcgan",
            "latent_size": 8,
            "generator_width": 4,
            "discriminator_width": 4,
            "discriminator_norm": "spectral",
        }
    },
    "decayed": {"learning_rate_decay": 0.9, "mirror": True},
    "augmented": {"augmentation": {"strength": 0.5}, "terms": ["mmd", "weight_penalty"]},
    "rare penalties": {"objective": "hinge", "terms": [{"kind": "r1", "every_steps": 3}, "r2"]},
    "pairs, augmented": {"objective": "r3", "augmentation": {"strength": 0.5}},
    "dcgan_fc": {
        "architecture": {"kind": "dcgan_fc", "latent_size": 8, "generator_width": 4, "discriminator_width": 4}
    },
    "resnet": {
        "architecture": {"kind": "resnet", "latent_size": 8, "generator_width": 4, "discriminator_width": 4}
    },
}
RARELY = ("rare penalties", "pairs, augmented")
"""Compute penalties only every few steps, and these are recorded the second time."""
RUNS = [(case, precision) for precision in ("float32", "bfloat16") for case in CASES]
CHOSEN = RUNS[: proof(len(CASES) + 2, len(RUNS))]
"""Recording knows no precision, so two cases in bfloat16 will do."""


def losses_of(state: TrainingState, batches: Batches) -> list[dict[str, float]]:
    """The losses of a run in which the guards change rates and augmentation half-way, and later restart."""
    losses = []
    for progress in trainer.train(state, batches):
        losses.append(progress.read())
        if progress.images_seen == state.spec.images // 2:
            state.watch = Watch(adjustments=Adjustments(generator_rate=0.5, augmentation=0.1))
        if progress.images_seen == state.spec.images * 3 // 4:
            state.begin_again()
    return losses


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> type[LoggedGraph]:
    monkeypatch.setattr(LoggedGraph, "count", 0)
    monkeypatch.setattr(graphs, "Graph", LoggedGraph)
    return LoggedGraph


def recorded_losses_of(
    state: TrainingState, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, float]]:
    monkeypatch.setattr(LoggedGraph, "state", state, raising=False)
    monkeypatch.setattr(trainer, "Step", OnAGpu)
    return losses_of(state, batches)


def bits(state: TrainingState) -> dict[str, bytes]:
    return {name: tensor.detach().contiguous().numpy().tobytes() for name, tensor in state.tensors()}


@pytest.mark.parametrize(("case", "precision"), CHOSEN)
def test_recorded_run_equals_the_plain_one_bit_for_bit(
    case: str,
    precision: str,
    make_spec: MakeSpec,
    make_batches: MakeBatches,
    environment: NumericEnvironment,
    graph: type[LoggedGraph],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = environment.model_copy(update={"precision": precision})
    spec = make_spec(images=24 if case in RARELY else proof(16, 24), **CASES[case])
    plain, recorded = (as_on_a_gpu(TrainingState.fresh(spec, environment)) for _ in range(2))
    expected = losses_of(plain, make_batches(spec))
    assert recorded_losses_of(recorded, make_batches(spec), monkeypatch) == expected
    assert graph.count >= 2
    assert bits(recorded) == bits(plain)


def test_losses_of_a_step_are_not_changed_by_later_steps(
    state: TrainingState,
    make_batches: MakeBatches,
    graph: type[LoggedGraph],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(LoggedGraph, "state", state, raising=False)
    monkeypatch.setattr(trainer, "Step", OnAGpu)
    steps = trainer.train(as_on_a_gpu(state), make_batches(state.spec))
    next(steps), next(steps)
    third = next(steps)
    told = third.read()
    next(steps)
    assert third.read() == told


def test_step_that_cannot_be_recorded_is_taken_unrecorded(
    spec: TrainingSpec,
    make_batches: MakeBatches,
    environment: NumericEnvironment,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    plain, unrecorded = (as_on_a_gpu(TrainingState.fresh(spec, environment)) for _ in range(2))

    def refuse() -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    def refusing(compute: Callable[[], Tensor], _pool: object) -> None:
        """Fail half-way, after the generator's gradients; undo all that was computed except gradients."""
        before = {name: tensor.clone() for name, tensor in unrecorded.tensors()}
        with monkeypatch.context() as context:
            context.setattr(unrecorded.generator_optimizer, "step", refuse)
            try:
                compute()
            finally:
                with torch.no_grad():
                    for name, tensor in unrecorded.tensors():
                        tensor.copy_(before[name])

    monkeypatch.setattr(graphs, "Graph", refusing)
    losses_of(plain, make_batches(spec))
    recorded_losses_of(unrecorded, make_batches(spec), monkeypatch)
    assert bits(unrecorded) == bits(plain)
    assert "not permitted" in caplog.text


def test_running_out_of_memory_while_recording_ends_the_run(
    state: TrainingState, make_batches: MakeBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(compute: Callable[[], Tensor], pool: object = None) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(graphs, "Graph", too_large)
    with pytest.raises(torch.OutOfMemoryError):
        recorded_losses_of(as_on_a_gpu(state), make_batches(state.spec), monkeypatch)


def test_first_step_of_a_new_routine_frees_the_memory_of_the_graphs(
    state: TrainingState,
    make_batches: MakeBatches,
    graph: type[LoggedGraph],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(LoggedGraph, "state", state, raising=False)
    rules = Rules.of(state.spec)
    step = Step(as_on_a_gpu(state), make_batches(state.spec), rules, Alone())
    recorded = RecordedSteps(step)
    usual, changed = rules.routine(0, None), rules.routine(0, DiffAugment(strength=0.5))
    for routine in (usual, usual, changed):
        recorded.take(routine, step.draw(routine))
    assert (recorded._known, graph.count) == ({}, 1)
    recorded.take(usual, step.draw(usual))
    assert (list(recorded._known), graph.count) == ([usual], 2)
