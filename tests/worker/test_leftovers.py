"""An owner deletes its own files and those of earlier owners, never those of a later one."""

from collections.abc import Callable
from functools import partial

import pytest

from contract.alias import AliasRecord, Meaning
from contract.durable import write_durably
from contract.job import Record, SnapshotFact, State, Want
from contract.keys import RecordKind
from contract.owning import Lease
from contract.volume import Volume, images_seen_of, weights_name
from models.checkpoint import save_snapshot
from models.environment import detect
from models.state import TrainingState
from models.watch import Watch
from tests.trained import spec_of
from tests.worker.children import warm_server
from worker.child import Child
from worker.child_group import ChildGroup
from worker.facts import Facts, write_facts
from worker.leftovers import (
    drop_abandoned,
    drop_superseded,
    drop_torn,
    drop_unheard,
    drop_unreported,
    superseded,
    unheard,
)
from worker.ownership import Ownership
from worker.process import WorkerProcess
from worker.settings import Settings
from worker.store import Store
from worker.warming import Warming

NAMES = [weights_name(images_seen, token=7) for images_seen in (100, 200, 300, 400)]


def newest(best_images_seen: int | None) -> SnapshotFact:
    return SnapshotFact(file=NAMES[-1], images_seen=400, best_images_seen=best_images_seen)


def unjudged(name: str) -> None:
    del name


def test_newest_two_snapshots_are_kept() -> None:
    assert set(superseded(NAMES, newest(None), unjudged)) == set(NAMES[:2])


def test_best_snapshot_is_kept_however_old_it_is() -> None:
    assert superseded(NAMES, newest(100), unjudged) == [NAMES[1]]


def test_snapshots_of_a_later_owner_are_kept() -> None:
    later = weights_name(500, token=8)
    assert later not in superseded([*NAMES, later], newest(None), unjudged)


def test_best_as_of_the_snapshot_before_the_newest_is_kept(volume: Volume) -> None:
    """A run resumed from there may roll back to that best."""
    state = TrainingState.fresh(spec_of("dcgan", width=4), detect("cpu", 1, "float32"))
    volume.job(JOB).mkdir()

    def saved(images_seen: int, best_images_seen: int) -> list[int]:
        """Save a snapshot, and return which are left."""
        state.images_seen, state.watch = images_seen, Watch(best_images_seen=best_images_seen)
        name = weights_name(images_seen, token=7)
        save_snapshot(state, volume.snapshot(JOB, name))
        fact = SnapshotFact(file=name, images_seen=images_seen, best_images_seen=best_images_seen)
        drop_superseded(volume, JOB, fact)
        return sorted(images_seen_of(path.name) for path in volume.snapshots(JOB).iterdir())

    for images_seen in (100, 800, 900):
        saved(images_seen, best_images_seen=100)
    assert saved(1000, best_images_seen=1000) == [100, 900, 1000]
    assert saved(1100, best_images_seen=1000) == [1000, 1100]
    with volume.snapshot(JOB, weights_name(1100, token=7)).open("r+b") as rotten:
        rotten.write(b"\xff" * 16)
    assert saved(1200, best_images_seen=1000) == [1000, 1100, 1200]


@pytest.mark.parametrize("drop", [drop_superseded, partial(drop_unheard, named=[])])
def test_files_beside_snapshots_disturb_nothing_and_are_kept(
    drop: Callable[[Volume, str, SnapshotFact], None], volume: Volume
) -> None:
    beside = {f"._{NAMES[0]}", NAMES[0].replace(".", " (copy)."), "1.safetensors", "best.safetensors"}
    volume.job(JOB).mkdir()
    for name in beside | set(NAMES):
        write_durably(volume.snapshot(JOB, name), b"")
    drop(volume, JOB, newest(None))
    assert {path.name for path in volume.snapshots(JOB).iterdir()} == beside | set(NAMES[2:])


@pytest.mark.parametrize("drop", [drop_superseded, partial(drop_unheard, named=[])])
def test_nothing_is_deleted_while_the_volume_does_not_say_what_a_resume_needs(
    drop: Callable[[Volume, str, SnapshotFact], None], volume: Volume
) -> None:
    volume.job(JOB).mkdir()
    for name in NAMES:
        write_durably(volume.snapshot(JOB, name), b"")
    before_the_newest = volume.snapshot(JOB, NAMES[-2])
    before_the_newest.unlink()
    before_the_newest.symlink_to("x" * 300)
    drop(volume, JOB, newest(None))
    assert {path.name for path in volume.snapshots(JOB).iterdir()} == set(NAMES)


def test_nothing_fails_if_the_snapshots_cannot_be_listed(volume: Volume) -> None:
    volume.job(JOB).mkdir()
    volume.snapshots(JOB).symlink_to("x" * 300)
    with pytest.raises(OSError, match="File name too long"):
        volume.snapshots(JOB).is_dir()
    drop_superseded(volume, JOB, newest(None))
    drop_unheard(volume, JOB, newest(None), [])
    drop_torn(volume, JOB, ".*.tmp")
    drop_abandoned(volume.snapshots(JOB))


def test_snapshots_that_a_resume_may_need_are_kept_while_redis_is_away() -> None:
    """Those are what Redis may refer to, the newest two and their bests. Other owners' are kept, too."""
    own = [weights_name(images_seen, token=7) for images_seen in range(100, 1000, 100)]
    others = [weights_name(250, token=6), weights_name(250, token=8)]
    named = [SnapshotFact(file=name, images_seen=images_seen_of(name)) for name in (own[1], own[3])]
    latest = SnapshotFact(file=own[-1], images_seen=900, best_images_seen=500)
    dropped = unheard(own + others, latest, named, {own[-2]: 600}.get)
    assert sorted(map(images_seen_of, dropped)) == [300, 700]


JOB = "job_0123456789abcdef"


def carried_out(volume: Volume, redis_url: str, token: int) -> None:
    """Own a record whose child ends at once, as if it were killed."""
    idle = ChildGroup([Child.start(warm_server())])
    process = WorkerProcess.create("w0", Settings(data_root=volume.root, redis_url=redis_url))
    process.stop.set()
    ownership = Ownership(
        Lease(RecordKind.JOB, JOB, str(token), seconds=1),
        Record(
            id=JOB,
            state=State.RUNNING,
            want=Want.RUN,
            token=token,
            attempt=1,
            revision=1,
            spec="{}",
            created_us=1,
        ),
        idle,
        process,
        Warming(Store(redis_url), redis_url, patience_seconds=0),
    )
    ownership.carry_out(lambda *_: ("nowhere:nothing", ""))


def test_late_owner_leaves_the_files_of_the_next_one_alone(volume: Volume, redis_url: str) -> None:
    volume.snapshots(JOB).mkdir(parents=True)
    write_facts(volume, JOB, Facts(state=State.RUNNING, token=8, attempt=2, created_us=1))
    being_written = volume.snapshots(JOB) / f".{weights_name(100, token=8)}.0123abcd.tmp"
    its_own = volume.snapshots(JOB) / f".{weights_name(100, token=7)}.0123abcd.tmp"
    for path in (being_written, its_own):
        path.touch()
    carried_out(volume, redis_url, token=7)
    assert being_written.exists()
    assert not its_own.exists()


def test_unreported_checkpoint_of_a_dead_owner_is_deleted_once_the_next_owner_wrote_it(
    volume: Volume,
) -> None:
    published, reported, unreported, later = (weights_name(100, token) for token in (7, 5, 6, 8))
    elsewhere = weights_name(200, token=6)
    odd = "000000000100-6 (copy).safetensors"
    volume.checkpoints(JOB).mkdir(parents=True)
    for name in (published, reported, unreported, later, elsewhere, odd):
        volume.checkpoint(JOB, name).touch()
    drop_unreported(volume, JOB, published, {reported, published})
    left = {path.name for path in volume.checkpoints(JOB).iterdir()}
    assert left == {published, reported, later, elsewhere, odd}


def test_checkpoint_that_an_alias_names_is_kept_even_if_it_seems_unreported(volume: Volume) -> None:
    published, reported = (weights_name(100, token) for token in (7, 5))
    meaning = Meaning(job=JOB, digest="sha256:" + "0" * 64, file=reported, revision=1)
    write_durably(volume.alias("live"), AliasRecord(now=meaning).as_file())
    volume.checkpoints(JOB).mkdir(parents=True)
    for name in (published, reported):
        volume.checkpoint(JOB, name).touch()
    drop_unreported(volume, JOB, published, {published})
    assert volume.checkpoint(JOB, reported).exists()


def test_checkpoint_is_kept_that_an_unreadable_alias_may_name(volume: Volume) -> None:
    published, unreported = (weights_name(100, token) for token in (7, 5))
    write_durably(volume.alias("live"), b"\xff")
    volume.checkpoints(JOB).mkdir(parents=True)
    volume.checkpoint(JOB, unreported).touch()
    drop_unreported(volume, JOB, published, {published})
    assert volume.checkpoint(JOB, unreported).exists()
