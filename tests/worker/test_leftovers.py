"""Which files an owner lets go of: its own, and never those of the owner that came after it."""

from contract.alias import AliasRecord, Meaning
from contract.durable import write_durably
from contract.job import Record, SnapshotFact, State, Want
from contract.keys import RecordKind
from contract.store import Lease
from contract.volume import Volume, images_seen_of, weights_name
from models.checkpoint import save_snapshot
from models.environment import detect
from models.guards import Watch
from models.state import TrainingState
from tests.trained import spec_of
from worker import child
from worker.child import Child
from worker.crew import Crew
from worker.facts import Facts, write_facts
from worker.leftovers import drop_superseded, drop_untold, superseded, unheard
from worker.room import Later
from worker.settings import Settings
from worker.store import Store
from worker.tenure import Tenure
from worker.warming import Warming

NAMES = [weights_name(images_seen, token=7) for images_seen in (100, 200, 300, 400)]


def newest(best_images_seen: int | None) -> SnapshotFact:
    return SnapshotFact(file=NAMES[-1], images_seen=400, best_images_seen=best_images_seen)


def unjudged(name: str) -> None:
    del name


def test_newest_two_stay() -> None:
    assert set(superseded(NAMES, newest(None), unjudged)) == set(NAMES[:2])


def test_best_stays_however_old_it_is() -> None:
    assert superseded(NAMES, newest(100), unjudged) == [NAMES[1]]


def test_what_a_later_owner_has_written_stays() -> None:
    later = weights_name(500, token=8)
    assert later not in superseded([*NAMES, later], newest(None), unjudged)


def test_what_was_the_best_stays_for_a_resume_from_the_snapshot_before_the_newest(volume: Volume) -> None:
    """That comes once more to where the run went back to it."""
    state = TrainingState.fresh(spec_of("dcgan", width=4), detect("cpu", 1, "float32"))

    def saved(images_seen: int, best_images_seen: int) -> list[int]:
        """Which are left."""
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


def test_while_redis_is_away_its_snapshot_the_newest_two_and_their_bests_stay() -> None:
    """What Redis may have heard of stays, too, and so does what others have written."""
    own = [weights_name(images_seen, token=7) for images_seen in range(100, 1000, 100)]
    others = [weights_name(250, token=6), weights_name(250, token=8)]
    named = [SnapshotFact(file=name, images_seen=images_seen_of(name)) for name in (own[1], own[3])]
    latest = SnapshotFact(file=own[-1], images_seen=900, best_images_seen=500)
    dropped = unheard(own + others, latest, named, {own[-2]: 600}.get)
    assert sorted(map(images_seen_of, dropped)) == [300, 700]


JOB = "job_0123456789abcdef"


def carried_out(volume: Volume, redis_url: str, token: int) -> None:
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
        ),
        idle,
        store=Store(redis_url),
        volume=volume,
        settings=Settings(data_root=volume.root),
        later=Later(),
        warming=Warming(Store(redis_url), redis_url, patience_seconds=0),
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


def test_checkpoint_that_an_owner_did_not_live_to_tell_of_goes_when_the_next_one_has_written_it(
    volume: Volume,
) -> None:
    published, told, untold, later = (weights_name(100, token) for token in (7, 5, 6, 8))
    elsewhere = weights_name(200, token=6)
    odd = "000000000100-6 (copy).safetensors"
    volume.checkpoints(JOB).mkdir(parents=True)
    for name in (published, told, untold, later, elsewhere, odd):
        volume.checkpoint(JOB, name).touch()
    drop_untold(volume, JOB, published, {told, published})
    left = {path.name for path in volume.checkpoints(JOB).iterdir()}
    assert left == {published, told, later, elsewhere, odd}


def test_checkpoint_that_an_alias_names_stays_though_nobody_knows_that_it_was_told(volume: Volume) -> None:
    published, told = (weights_name(100, token) for token in (7, 5))
    meaning = Meaning(job=JOB, digest="sha256:" + "0" * 64, file=told, revision=1)
    write_durably(volume.alias("live"), AliasRecord(now=meaning).as_file())
    volume.checkpoints(JOB).mkdir(parents=True)
    for name in (published, told):
        volume.checkpoint(JOB, name).touch()
    drop_untold(volume, JOB, published, {published})
    assert volume.checkpoint(JOB, told).exists()
