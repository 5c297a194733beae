"""The messages of a trainer's child about its work."""

import errno
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from contract.durable import replace_durably
from contract.errors import ErrorCode, ServiceError
from contract.job import Progress, Record, SnapshotFact, State, Want
from contract.volume import Volume, weights_name
from models.checkpoint import save_snapshot
from models.datasets.arrays import array
from models.environment import detect
from models.evaluation import Judge
from models.features import CHOICES
from models.networks import sketch
from models.state import TrainingState
from tests.worker.training_child import carry_out, clothes, grey_squares, order_for, square
from tests.worker.unmounted import Unmounted
from worker import link, opening, reporting, room
from worker.child import Chore, StopRequestedError
from worker.facts import Facts
from worker.forecast import Forecast
from worker.orders import TrainingOrder
from worker.room import room_of
from worker.settings import Settings


@pytest.fixture
def order(volume: Volume) -> TrainingOrder:
    """A tiny job on four grey squares."""
    return order_for(volume, grey_squares())


def test_finished_work_has_reported_its_environment_checkpoints_and_end(order: TrainingOrder) -> None:
    said = carry_out(order)
    assert isinstance(said[0], link.Computing)
    assert isinstance(said[-1], link.Finished)
    published = [message.checkpoint.images_seen for message in said if isinstance(message, link.Published)]
    assert published[-1] == 32


def test_time_left_is_reported_from_the_first_images_to_the_last(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[float] = []

    class Watched(Forecast):
        @contextmanager
        def evaluating(self, images_seen: int) -> Iterator[None]:
            began = time.monotonic()
            with super().evaluating(images_seen):
                yield
            timed.append(time.monotonic() - began)

    monkeypatch.setattr(reporting, "Forecast", Watched)
    said = carry_out(order_for(volume, clothes(40), images=64, evaluation={"every_images": 16}))
    assert len(timed) == len([message for message in said if isinstance(message, link.Judged)]) > 1
    assert min(timed) > 0.001  # the evaluation itself is timed
    told = _progress(said)
    assert all(one.seconds_left is None for one in told if one.done == 0)  # the pace is not known yet
    assert told[-1].seconds_left == 0
    begun = [one.seconds_left for one in told if 0 < one.done < 64]
    assert begun
    assert any(begun)


def test_every_weight_drawn_gives_a_sign_of_life(
    order: TrainingOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Chore, "heed_stop", lambda _: stop())
    said: list[link.Message] = []
    with pytest.raises(StopRequestedError):
        carry_out(order, said)
    assert len(said) == 1, "asked to stop before the second weight is drawn"
    monkeypatch.undo()
    pair = sketch(order.spec.architecture, order.spec.resolution, order.spec.channels)
    weights = len([*pair.generator.parameters(), *pair.discriminator.parameters()])
    assert [type(message) for message in carry_out(order)[1 : 1 + weights]] == [link.Advanced] * weights


def test_resumed_run_draws_no_weights(order: TrainingOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshots = [message.snapshot for message in carry_out(order) if isinstance(message, link.Saved)]
    monkeypatch.delattr(TrainingState, "draw")
    assert isinstance(carry_out(order.model_copy(update={"snapshot": snapshots[-1]}))[-1], link.Finished)


def test_run_resumed_after_its_last_step_reports_its_losses_and_no_pace(order: TrainingOrder) -> None:
    said = carry_out(order)
    end = [message.snapshot for message in said if isinstance(message, link.Saved)][-1]
    assert end.images_seen == 32
    again = carry_out(order.model_copy(update={"snapshot": end}))
    first, last = (_progress(messages)[-1] for messages in (said, again))
    assert (last.done, last.images_per_second) == (32, None)
    assert last.losses == first.losses != {}


def _progress(said: list[link.Message]) -> list[Progress]:
    return [message.progress for message in said if isinstance(message, link.Advanced)]


def test_known_checkpoint_is_not_published_again(order: TrainingOrder) -> None:
    first = [message.checkpoint for message in carry_out(order) if isinstance(message, link.Published)]
    again = carry_out(order.model_copy(update={"checkpoints": tuple(first)}))
    assert not [message for message in again if isinstance(message, link.Published)]


def test_unreported_snapshot_hides_no_checkpoint(order: TrainingOrder) -> None:
    """A child leaves one if it goes on while its supervisor is suspended: no owner hears of it."""
    unheard = order.model_copy(update={"snapshot_seconds": 0.0})
    told = [message.checkpoint for message in carry_out(unheard) if isinstance(message, link.Published)]
    again = [message.checkpoint for message in carry_out(unheard) if isinstance(message, link.Published)]
    assert again == told


def test_run_that_does_not_fit_into_memory_is_refused_before_it_begins(
    order: TrainingOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "available_bytes", lambda _: 2**20)
    with pytest.raises(ServiceError) as refusal:
        carry_out(order)
    assert refusal.value.code is ErrorCode.INSUFFICIENT_MEMORY


def test_run_whose_features_are_missing_is_refused(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "available_bytes", lambda _: 2**40)  # too little memory would be told first
    order = order_for(volume, clothes(20), evaluation={"features": "inception"})
    with pytest.raises(ServiceError, match="weights-inception") as refusal:
        carry_out(order)
    assert refusal.value.code is ErrorCode.FEATURES_UNAVAILABLE


def test_features_are_not_missing_while_the_volume_is_away(volume: Volume) -> None:
    volume.inception.parent.mkdir()
    volume.inception.write_bytes(b"other weights")
    _, child = Pipe(duplex=True)
    room = room_of(Unmounted(child, volume), volume)
    with pytest.raises(ServiceError, match="its SHA-256"):
        CHOICES["inception"].load(volume, "cpu", room.read)


def test_run_on_pictures_that_all_look_the_same_finishes(volume: Volume) -> None:
    order = order_for(volume, (square(128, comment) for comment in range(40)))
    assert isinstance(carry_out(order)[-1], link.Finished)


def test_features_of_the_reals_are_not_part_of_the_first_evaluations_time(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    prepare, evaluating = Judge.prepare, Forecast.evaluating

    def prepare_once(judge: Judge) -> Any:
        begun.append("prepare")
        return prepare(judge)

    def evaluate(forecast: Forecast, images_seen: int) -> Any:
        begun.append("evaluate")
        return evaluating(forecast, images_seen)

    monkeypatch.setattr(Judge, "prepare", prepare_once)
    monkeypatch.setattr(Forecast, "evaluating", evaluate)
    carry_out(order_for(volume, clothes(40)))
    assert begun[:2] == ["prepare", "evaluate"]


def test_freed_memory_is_kept_only_after_the_pictures_are_decoded(
    order: TrainingOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(opening, "keep_freed_memory", lambda: done.append("keep"))

    def decode(*given: Any) -> Any:
        done.append("decode")
        return array(*given)

    monkeypatch.setattr("worker.pictures.array", decode)
    carry_out(order)
    assert done == ["decode", "keep"]


def test_resume_in_another_environment_continues_and_reports_it(order: TrainingOrder) -> None:
    order = order.model_copy(update={"snapshot_seconds": 1e-9})
    said = carry_out(order)
    computing, saved = said[0], next(message for message in said if isinstance(message, link.Saved))
    assert isinstance(computing, link.Computing)
    assert computing.changed is None
    said = carry_out(order.model_copy(update={"snapshot": saved.snapshot, "threads": 2}))
    told = said[0]
    assert isinstance(told, link.Computing)
    assert told.environment == computing.environment | {"threads": 2}
    assert told.changed is not None
    assert told.changed.index("/1t/") < told.changed.index("/2t/")
    assert isinstance(said[-1], link.Finished)


def test_resume_of_a_snapshot_that_lacks_its_arithmetic_does_not_warn(order: TrainingOrder) -> None:
    now = detect("cpu", 1, order.spec.precision)
    earlier = now.model_copy(update={"isa": now.isa.partition("+")[0]})
    assert earlier != now
    state = TrainingState.fresh(order.spec, earlier)
    path = Volume(order.data_root).snapshot(order.job, weights_name(state.images_seen, order.token))
    path.parent.mkdir()
    save_snapshot(state, path)
    told = carry_out(order.model_copy(update={"snapshot": SnapshotFact(file=path.name, images_seen=0)}))[0]
    assert told == link.Computing(environment=now.model_dump(mode="json"), changed=None)


@pytest.mark.parametrize(
    ("is_published", "judged_images_seen", "is_told"), [(True, 0, True), (False, 8, True), (False, 0, False)]
)
def test_run_without_a_snapshot_tells_that_it_keeps_results_of_another_environment(
    order: TrainingOrder, *, is_published: bool, judged_images_seen: int, is_told: bool
) -> None:
    said = carry_out(order)
    published = tuple(message.checkpoint for message in said if isinstance(message, link.Published))
    facts = Facts(
        state=State.RUNNING, token=1, attempt=1, created_us=1, judged_images_seen=judged_images_seen,
        checkpoints=published if is_published else (),
    )  # fmt: skip
    record = Record(
        id=order.job, state=State.RUNNING, want=Want.RUN, token=2, attempt=2, revision=9,
        created_us=1, spec=order.spec.model_dump_json(),
        environment=detect("cpu", 2, "float32").model_dump(mode="json"),
    )  # fmt: skip
    settings = Settings(data_root=order.data_root, device="cpu", threads=1)
    told = carry_out(TrainingOrder.for_record(record, facts, settings))[0]
    assert isinstance(told, link.Computing)
    assert (told.environment["threads"], told.changed is not None) == (1, is_told)


def test_run_that_waits_for_room_gives_the_same_bits(
    order: TrainingOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = order.model_copy(update={"snapshot_seconds": 1e-9})  # one at every step
    undisturbed = carry_out(order)
    clear(order)
    tries = Counter[Path]()

    def refuse_once(path: Path, content: bytes) -> None:
        tries[path] += 1
        if tries[path] == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace_durably(path, content)

    monkeypatch.setattr(room, "replace_durably", refuse_once)
    monkeypatch.setattr(room, "FIRST_PAUSE_SECONDS", 0.01)
    said = carry_out(order)
    assert {path.parent.name for path in tries} == {"resume", "checkpoints", "previews"}
    told = [
        message.shortage and message.shortage.code for message in said if isinstance(message, link.Waiting)
    ]
    assert told == ["volume_full", None] * len(tries)
    for kind in (link.Saved, link.Published, link.Previewed, link.Judged, link.Finished):
        assert [m for m in said if isinstance(m, kind)] == [m for m in undisturbed if isinstance(m, kind)]


def test_run_asked_to_stop_while_it_waits_for_room_ends_at_once(
    order: TrainingOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: bytes) -> None:
        monkeypatch.setattr(Chore, "heed_stop", lambda _: stop())
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(room, "replace_durably", refuse)
    monkeypatch.setattr(Chore, "stop_requested", property(lambda _: True))
    said: list[link.Message] = []
    with pytest.raises(StopRequestedError):
        carry_out(order, said)
    assert isinstance(said[-1], link.Waiting)
    assert not [*Volume(order.data_root).jobs.rglob("*.*")]


def test_run_asked_to_stop_tells_how_far_it_has_come(
    order: TrainingOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paused job's progress is what it has saved, however short ago it was last told."""
    steps = iter([False] * 3)
    monkeypatch.setattr(Chore, "stop_requested", property(lambda _: next(steps, True)))
    said = carry_out(order)
    saved, _ = said[-2:]
    assert isinstance(saved, link.Saved)
    progress = [message.progress for message in said if isinstance(message, link.Advanced)][-1]
    assert progress.done == saved.snapshot.images_seen > 0


def stop() -> None:
    raise StopRequestedError


def clear(order: TrainingOrder) -> None:
    """Delete the files of a run."""
    for path in Volume(order.data_root).job(order.job).rglob("*.*"):
        path.unlink()
