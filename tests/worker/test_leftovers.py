"""Which files an owner lets go of: its own, and never those of the owner that came after it."""

import pytest

from contract.job import CheckpointFact, Record, SnapshotFact, State, Want
from contract.keys import RecordKind
from contract.store import Lease
from contract.volume import Volume, weights_name
from worker import child
from worker.child import Child
from worker.crew import Crew
from worker.facts import Facts, write_facts
from worker.leftovers import drop_untold, superseded
from worker.room import Later
from worker.settings import Settings
from worker.store import Store
from worker.tenure import Tenure

NAMES = [weights_name(images_seen, token=7) for images_seen in (100, 200, 300, 400)]


def newest(best_images_seen: int | None) -> SnapshotFact:
    return SnapshotFact(file=NAMES[-1], images_seen=400, best_images_seen=best_images_seen)


def test_newest_two_stay() -> None:
    assert set(superseded(NAMES, newest(None))) == set(NAMES[:2])


def test_best_stays_however_old_it_is() -> None:
    assert superseded(NAMES, newest(100)) == [NAMES[1]]


def test_what_a_later_owner_has_written_stays() -> None:
    later = weights_name(500, token=8)
    assert later not in superseded([*NAMES, later], newest(None))


JOB = "job_0123456789abcdef"


def carried_out(volume: Volume, redis_url: str, token: int, checkpoint: CheckpointFact | None = None) -> None:
    """A tenure whose child ends at once, in the way of one that was killed."""
    idle = Crew([Child.start(child.forkserver([]))])
    tenure = Tenure(
        Lease(RecordKind.JOB, JOB, str(token), seconds=1),
        Record(
            id=JOB,
            state=State.RUNNING,
            want=Want.RUN,
            token=token,
            attempt=1,
            deaths=0,
            revision=1,
            spec="{}",
            created_us=1,
            checkpoint=checkpoint,
        ),
        idle,
        store=Store(redis_url),
        volume=volume,
        settings=Settings(data_root=volume.root),
        later=Later(),
        is_stopping=lambda: True,
    )
    tenure.carry_out(lambda _: ("nowhere:nothing", ""))


def test_owner_who_comes_late_leaves_the_next_ones_files_alone(volume: Volume, redis_url: str) -> None:
    volume.snapshots(JOB).mkdir(parents=True)
    write_facts(volume, JOB, Facts(state=State.RUNNING, token=8, attempt=2, created_us=1))
    being_written = volume.snapshots(JOB) / f".{weights_name(100, token=8)}.0123abcd.tmp"
    its_own = volume.snapshots(JOB) / f".{weights_name(100, token=7)}.0123abcd.tmp"
    for path in (being_written, its_own):
        path.touch()
    carried_out(volume, redis_url, token=7)
    assert being_written.exists()
    assert not its_own.exists()


def test_checkpoint_that_an_owner_did_not_live_to_tell_of_goes(volume: Volume) -> None:
    told, untold, later = (weights_name(100, token) for token in (5, 6, 8))
    volume.checkpoints(JOB).mkdir(parents=True)
    for name in (told, untold, later):
        volume.checkpoint(JOB, name).touch()
    drop_untold(volume, JOB, {told}, token=7)
    assert {path.name for path in volume.checkpoints(JOB).iterdir()} == {told, later}


@pytest.mark.parametrize("heard", [None, CheckpointFact(file="x", digest="sha256:x", images_seen=1, bytes=1)])
def test_checkpoints_stay_where_facts_are_missing_that_were_heard(
    volume: Volume, redis_url: str, heard: CheckpointFact | None
) -> None:
    path = volume.checkpoint(JOB, weights_name(100, token=5))
    path.parent.mkdir(parents=True)
    path.touch()
    carried_out(volume, redis_url, token=7, checkpoint=heard)
    assert path.exists() == (heard is not None)
