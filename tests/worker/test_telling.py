"""Events of a run are reported once, even if their reporter dies before Redis acknowledges them."""

import json
from typing import Any

import pytest
from redis.exceptions import ConnectionError as Away

from contract.command import Command
from contract.durable import write_json
from contract.evaluation import AdversarialAccuracy, Distance, Evaluation, LatentPaths
from contract.events import EventType
from contract.job import Progress, Record, Shortage, SnapshotFact, State, Want
from contract.keys import KEYS, RecordKind
from contract.owning import Lease, Verdict, beat
from contract.volume import Volume, images_seen_of, weights_name
from tests.worker.children import warm_server
from tests.worker.owner import LEASE_SECONDS, Worker
from tests.worker.training_child import carry_out, grey_squares, order_for
from worker import link
from worker.child import Child
from worker.child_group import ChildGroup
from worker.facts import Facts, read_facts
from worker.orders import TrainingOrder
from worker.ownership import Ownership
from worker.process import WorkerProcess
from worker.settings import Settings
from worker.store import Store
from worker.warming import Warming

FIRST = "job_0000000000000001"
DISTANCE = Distance(name="fd", value=1.0, floor=0.5)
JUDGED = link.Judged(
    images_seen=8,
    evaluation=Evaluation(
        images_seen=8, samples=2, reals=2, split="training", features="embedded-1",
        frechet=DISTANCE, kernel=DISTANCE, precision=1, recall=1, density=1, coverage=1, diversity=1,
        memorised=0, adversarial_accuracy=AdversarialAccuracy(real=1, fake=1, threshold=0, calibrated=False),
        latent_paths=LatentPaths(paths=1, points=1, length=1, smoothness=1), losses={},
    ),
    warning=link.Warned(code="mode_collapse", detail="d"),
)  # fmt: skip


@pytest.fixture
def ownership(worker: Worker, volume: Volume, redis_url: str) -> Ownership:
    worker.submit(FIRST)
    lease: Lease = worker.records.claim()
    idle = ChildGroup([Child.start(warm_server())])
    idle.end()
    settings = Settings(data_root=volume.root, redis_url=redis_url, lease_seconds=LEASE_SECONDS)
    return Ownership(
        lease,
        worker.records.read(FIRST),
        idle,
        WorkerProcess.create("w0", settings),
        Warming(Store(redis_url), redis_url, patience_seconds=0),
    )


def test_acknowledged_judgement_is_stored_and_marked_as_reported(
    ownership: Ownership, worker: Worker
) -> None:
    ownership._hear(JUDGED)
    record, stated = worker.records.read(FIRST), read_facts(worker.volume, FIRST)
    assert stated is not None
    assert (record.judged_images_seen, record.evaluation) == (8, JUDGED.evaluation)
    assert (stated.judged_images_seen, stated.evaluation) == (8, JUDGED.evaluation)


def test_progress_is_on_the_volume_from_every_snapshot_on(ownership: Ownership, worker: Worker) -> None:
    snapshot = SnapshotFact(file=weights_name(4, token=7), images_seen=4)
    for message in (link.Advanced(progress=Progress(done=4, total=8)), link.Saved(snapshot=snapshot)):
        ownership._hear(message)
    worker.rest_for_a_heartbeat()
    ownership._heartbeat.beat_if_due()
    assert worker.records.read(FIRST).progress == Progress(done=4, total=8)
    ownership._hear(link.Saved(snapshot=snapshot))
    stated = read_facts(worker.volume, FIRST)
    assert stated is not None
    assert stated.progress == Progress(done=4, total=8)


def test_unacknowledged_judgement_is_stored_but_not_marked_as_reported(
    ownership: Ownership, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def be_away(_: Store, command: Command[Any]) -> None:
        raise Away(command.arguments[1])

    monkeypatch.setattr(Store, "run", be_away)
    ownership._hear(JUDGED)
    stated = read_facts(worker.volume, FIRST)
    assert stated is not None
    assert (stated.judged_images_seen, stated.evaluation) == (0, JUDGED.evaluation)


def test_wait_is_reported_again_once_redis_was_rebuilt(ownership: Ownership, worker: Worker) -> None:
    shortage = Shortage(code="volume_full", detail="d", needed_bytes=2, free_bytes=1, since_ms=1)
    waiting = link.Waiting(shortage=shortage)
    ownership._hear(waiting)
    key, redis = KEYS[RecordKind.JOB].record_of + FIRST, worker.records.redis
    fields = redis.hgetall(key)
    redis.delete(key)
    assert ownership._outbox.tell(beat(ownership._lease)) is Verdict.UNKNOWN
    redis.hset(key, mapping={**fields, "waiting_for": "null"})
    assert ownership._outbox.tell(beat(ownership._lease)) is Want.RUN
    ownership._hear(waiting)
    assert worker.records.read(FIRST).waiting_for == shortage
    ownership._hear(link.Waiting(shortage=None))
    assert worker.records.read(FIRST).waiting_for is None


def test_of_a_wait_while_redis_is_away_only_the_newest_need_is_reported_in_the_end(
    ownership: Ownership, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    honest, is_away = Store.run, [True]

    def listen(store: Store, command: Command[Any]) -> Any:
        if is_away:
            raise Away(command.arguments[1])
        told.append(json.loads(command.arguments[2]))
        return honest(store, command)

    monkeypatch.setattr(Store, "run", listen)
    waits = [
        Shortage(code="volume_full", detail="d", needed_bytes=9, free_bytes=free, since_ms=1)
        for free in (1, 1, 1, 2, 3)
    ]
    for shortage in waits:
        ownership._hear(link.Waiting(shortage=shortage))
    is_away.clear()
    ownership._outbox.flush()
    assert [report.get("event") for report in told] == [EventType.WARNING, None]
    assert worker.records.read(FIRST).waiting_for == waits[-1]


@pytest.mark.parametrize("sign", ["tombstone", "no directory"])
def test_record_that_was_deleted_is_lost(ownership: Ownership, worker: Worker, sign: str) -> None:
    """A tombstone is enough: what still wrote into the directory may have kept it from being removed."""
    worker.records.redis.delete(KEYS[RecordKind.JOB].record_of + FIRST)
    if sign == "tombstone":
        write_json(worker.volume.tombstone(FIRST), {})
    else:
        worker.volume.job(FIRST).rmdir()
    assert ownership._outbox.tell(beat(ownership._lease)) is Verdict.LOST


def test_few_unacknowledged_snapshots_are_kept_and_no_deleted_one_is_reported(
    ownership: Ownership, worker: Worker, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [weights_name(images_seen, token=7) for images_seen in range(1, 8)]
    told: list[str] = []
    honest = Store.run

    def listen(store: Store, command: Command[Any]) -> Any:
        told.append(json.loads(json.loads(command.arguments[2])["fields"]["snapshot"])["file"])
        if len(told) < 2 * len(names):
            raise Away
        assert volume.snapshot(FIRST, told[-1]).exists()
        return honest(store, command)

    monkeypatch.setattr(Store, "run", listen)
    volume.snapshots(FIRST).mkdir()
    for name in names:
        volume.snapshot(FIRST, name).touch()
        ownership._hear(link.Saved(snapshot=SnapshotFact(file=name, images_seen=images_seen_of(name))))
    assert sorted(path.name for path in volume.snapshots(FIRST).iterdir()) == [names[0], *names[-2:]]
    for _ in names:
        ownership._outbox.flush()
    ownership._outbox.flush()
    assert set(told) == {names[0], names[-1]}
    snapshot = worker.records.read(FIRST).snapshot
    assert snapshot is not None
    assert snapshot.file == names[-1]


def test_preview_is_reported_and_its_count_of_images_recorded(ownership: Ownership, worker: Worker) -> None:
    ownership._hear(link.Previewed(images_seen=8))
    assert worker.records.read(FIRST).previewed_images_seen == 8
    assert worker.events(FIRST)[-1] == {"images_seen": 8}


def test_order_tells_the_child_what_was_already_reported(volume: Volume) -> None:
    made = order_for(volume, grey_squares())
    record = Record(
        id=made.job, state=State.RUNNING, want=Want.RUN, token=2, attempt=2, deaths=1, revision=9,
        created_us=1, spec=made.spec.model_dump_json(), judged_images_seen=16, previewed_images_seen=8,
    )  # fmt: skip
    order = TrainingOrder.for_record(record, Facts.of_claim(record, None), Settings(data_root=volume.root))
    assert order.deaths == 1
    assert (order.judged_images_seen, order.previewed_images_seen) == (16, 8)


def test_unreported_preview_is_reported_by_the_child_that_finds_it(volume: Volume) -> None:
    order = order_for(volume, grey_squares(), preview_every_images=16)
    assert _previewed(order) == [16, 32]
    assert _previewed(order.model_copy(update={"previewed_images_seen": 16})) == [32]


def _previewed(order: TrainingOrder) -> list[int]:
    return [said.images_seen for said in carry_out(order) if isinstance(said, link.Previewed)]
