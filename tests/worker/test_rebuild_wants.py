"""What was last wanted of a record, and how it ended, survives even if only its log of events says so."""

import json
from collections.abc import Callable, Sequence

import pytest
import redis

from contract.control import control
from contract.deliveries import Bounds, take_deliveries
from contract.durable import write_json
from contract.events import Event, EventType
from contract.job import Intent, State, Want
from contract.keys import RecordKind
from contract.owning import Lease, beat, claim, leave
from contract.reaping import Burial, died
from contract.rebuilding import REBUILT
from contract.submitting import submit
from contract.volume import Volume
from tests.contract.records import Records
from worker.facts import Facts, write_facts
from worker.mirror import Mirror
from worker.rebuild import Rebuilder
from worker.store import Store

JOB, JOB_ID = RecordKind.JOB, "job_0123456789abcdef"
CANCEL, PAUSE, RUN = Want.CANCEL, Want.PAUSE, Want.RUN
LONG_AGO_MS = 5


class Job:
    """A job with files on the volume, on which each step is stated or not."""

    def __init__(self, store: Store, volume: Volume, redis_url: str) -> None:
        self.store, self.volume, self.records = store, volume, Records(redis_url)
        volume.job(JOB_ID).mkdir(parents=True)
        volume.spec(JOB_ID).write_text('{"dataset": "ds_0123456789abcdef"}')
        store.run(submit(JOB, JOB_ID, "{}"))

    def steer(self, want: Want) -> None:
        """As by a gateway whose intent the volume refuses."""
        assert self.store.run(control(JOB, JOB_ID, want))[0] == "accepted"

    def state_and_steer(self, want: Want) -> None:
        intent = Intent(want=want, revision=self.records.read(JOB_ID).revision)
        write_json(self.volume.intent(JOB_ID), intent.model_dump())
        self.steer(want)

    def claim(self) -> Lease:
        """As by an owner whose facts the volume refuses."""
        claimed = self.store.run(claim(JOB, "w0", lease_seconds=60))
        assert claimed
        return Lease(JOB, JOB_ID, claimed.token, 60)

    def claim_and_state(self) -> Lease:
        lease = self.claim()
        facts = Facts(state=State.RUNNING, token=int(lease.token), attempt=1, created_us=5)
        assert write_facts(self.volume, JOB_ID, facts)
        return lease

    def mirror(self) -> None:
        Mirror(self.store, self.volume).copy_events(JOB)

    def backdate_events(self) -> None:
        log = self.volume.events(JOB_ID)
        events = map(Event.model_validate_json, log.read_bytes().splitlines())
        old = (event.model_copy(update={"at_ms": LONG_AGO_MS}).model_dump_json() for event in events)
        log.write_text("".join(f"{event}\n" for event in old))


@pytest.fixture
def job(store: Store, volume: Volume, redis_url: str) -> Job:
    return Job(store, volume, redis_url)


@pytest.fixture
def rebuild(rebuilder: Rebuilder, client: redis.Redis) -> Callable[[], None]:
    def rebuild() -> None:
        client.flushdb()
        assert rebuilder.rebuild_if_lost()

    return rebuild


@pytest.mark.parametrize(
    ("stated", "refused", "state"),
    [
        ([], [CANCEL], State.CANCELLED),
        ([], [PAUSE], State.PAUSED),
        ([PAUSE], [RUN], State.QUEUED),
        ([PAUSE], [RUN, PAUSE], State.PAUSED),
        ([PAUSE, RUN], [CANCEL], State.CANCELLED),
    ],
)
def test_intent_that_the_volume_refused_is_in_the_log(
    job: Job, rebuild: Callable[[], None], stated: Sequence[Want], refused: Sequence[Want], state: State
) -> None:
    for want in stated:
        job.state_and_steer(want)
    for want in refused:
        job.steer(want)
    job.mirror()
    for _ in range(2):
        rebuild()
        assert job.records.read(JOB_ID).state is state
        job.mirror()


@pytest.mark.parametrize(
    ("logged", "stated", "state"),
    [(PAUSE, RUN, State.QUEUED), (PAUSE, CANCEL, State.CANCELLED), (RUN, PAUSE, State.PAUSED)],
)
def test_intent_is_newer_than_the_events_before_it(
    job: Job, rebuild: Callable[[], None], logged: Want, stated: Want, state: State
) -> None:
    job.steer(logged)
    job.mirror()
    job.state_and_steer(stated)
    with job.volume.events(JOB_ID).open("ab") as log:
        log.write(b'{"id":9,"type":"state","at_')  # a crash cut it off
    rebuild()
    assert job.records.read(JOB_ID).state is state


@pytest.mark.parametrize("take", [Job.claim, Job.claim_and_state])
def test_cancelled_job_stays_cancelled_without_its_owners_last_facts(
    job: Job, rebuild: Callable[[], None], take: Callable[[Job], Lease]
) -> None:
    lease = take(job)
    job.steer(CANCEL)
    job.store.run(leave(lease, State.CANCELLED))
    job.mirror()
    job.backdate_events()
    for _ in range(2):
        rebuild()
        record = job.records.read(JOB_ID)
        assert (record.state, record.finished_ms, record.owner) == (State.CANCELLED, LONG_AGO_MS, None)
        job.mirror()


def test_end_of_long_ago_is_not_reported_however_often_it_is_rebuilt(
    job: Job, rebuild: Callable[[], None]
) -> None:
    job.steer(CANCEL)
    job.mirror()
    job.backdate_events()
    for _ in range(2):
        rebuild()
        bounds = Bounds(9, 9, 9)
        assert not job.store.run(take_deliveries(bounds, lease_seconds=60, under_way=()))
        job.mirror()


def test_failure_of_which_no_facts_were_written_stays_one(job: Job, rebuild: Callable[[], None]) -> None:
    burial = job.store.run(died(job.claim_and_state(), "killed", max_deaths=1))
    assert isinstance(burial, Burial)
    job.mirror()
    for _ in range(2):
        rebuild()
        record = job.records.read(JOB_ID)
        assert (record.state, record.error) == (State.FAILED, burial.error)
        job.mirror()


@pytest.mark.parametrize("want", [CANCEL, PAUSE])
def test_running_job_is_still_to_stop_however_often_it_is_rebuilt(
    job: Job, rebuild: Callable[[], None], want: Want
) -> None:
    lease = job.claim_and_state()
    job.steer(want)
    job.mirror()
    for _ in range(2):
        rebuild()
        assert job.store.run(beat(lease)) is want
        job.mirror()


def test_running_job_is_still_to_stop_after_a_rebuild_by_an_older_version(
    job: Job, rebuild: Callable[[], None]
) -> None:
    """Its event does not say what is wanted."""
    lease = job.claim_and_state()
    job.volume.intent(JOB_ID).write_text(json.dumps({"want": "pause"}))
    job.steer(PAUSE)
    job.mirror()
    data = json.dumps({"state": "running", "reason": REBUILT})
    event = Event(id=1003, type=EventType.STATE, at_ms=LONG_AGO_MS, data=data)
    with job.volume.events(JOB_ID).open("a") as log:
        log.write(event.model_dump_json() + "\n")
    rebuild()
    assert job.store.run(beat(lease)) is PAUSE


def test_owner_that_is_newer_than_the_log_keeps_its_job(job: Job, rebuild: Callable[[], None]) -> None:
    job.steer(PAUSE)
    job.mirror()
    job.state_and_steer(RUN)
    lease = job.claim_and_state()
    rebuild()
    assert job.store.run(beat(lease)) is RUN


def test_log_decides_against_an_intent_that_names_no_revision(job: Job, rebuild: Callable[[], None]) -> None:
    """It is an older version's, and what came of it is in the log."""
    job.volume.intent(JOB_ID).write_text(json.dumps({"want": "pause"}))
    for want in (PAUSE, RUN):
        job.steer(want)
    job.mirror()
    rebuild()
    assert job.records.read(JOB_ID).state is State.QUEUED
