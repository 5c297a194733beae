"""Which snapshots an owner lets go of."""

from contract.job import SnapshotFact
from contract.volume import weights_name
from worker.tenure import superseded

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
