"""Scripted work for children in tests: messages without any training. Only tests call it."""

import mmap
import os
import signal
from pathlib import Path

from contract.job import CheckpointFact, Progress, Shortage, SnapshotFact
from contract.volume import Volume
from worker import link
from worker.child import Chore, UnfitError
from worker.room import room_of

SHORTAGE = Shortage(
    code="volume_full", detail="The volume is full.", needed_bytes=9, free_bytes=1, since_ms=1
)


def finish(order: str, chore: Chore) -> None:
    """Finish at once."""
    del order
    chore.tell(link.Finished(result={"images_seen": 1}))


def be_unfit(order: str, chore: Chore) -> None:
    """Find no device."""
    del order, chore
    raise UnfitError("no GPU")


def crash(order: str, chore: Chore) -> None:
    """Die of an error that says nothing."""
    del order, chore
    raise AssertionError


def lose_a_mapped_page(order: str, chore: Chore) -> None:
    """Die, as of a mapped file that the volume does not give back."""
    del chore
    with Path(order).open("wb+") as file:
        file.truncate(1)
        pages = mmap.mmap(file.fileno(), 0)
        file.truncate(0)
        pages.read()


def hang(order: str, chore: Chore) -> None:
    """Send nothing until asked to stop."""
    del order
    chore.rest(1000)


def lose_the_last(order: str, chore: Chore) -> None:
    """Kill the last of several processes; the others wait until asked to stop."""
    place = chore.place
    if place.rank == place.ranks - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if place.rank == 0:
        chore.rest(1000)
    hang(order, chore)


def tell_place(order: str, chore: Chore) -> None:
    """Check that every process has a meeting point; the first reports how many there are."""
    del order
    assert chore.place.meeting_point
    if chore.place.rank == 0:
        chore.place.meeting_point.write_text("here")
        chore.tell(link.Finished(result={"ranks": chore.place.ranks}))


def save_and_finish(order: str, chore: Chore) -> None:
    """Save at once, and finish seconds later."""
    del order
    chore.tell(link.Saved(snapshot=SnapshotFact(file="f", images_seen=1)))
    for done in range(250):
        chore.tell(link.Advanced(progress=Progress(done=done, total=250)))
        chore.rest(0.01)
    chore.tell(link.Finished())


def publish_and_finish(order: str, chore: Chore) -> None:
    """Publish a best checkpoint, a worse one and a better one, then finish."""
    del order
    for images_seen, distance in ((1, 9.0), (2, 10.0), (3, 8.0)):
        chore.tell(link.Published(checkpoint=checkpoint(images_seen, distance)))
    chore.tell(link.Finished(result={"images_seen": 3}))


def checkpoint(images_seen: int, distance: float) -> CheckpointFact:
    """A checkpoint at this distance from the real pictures."""
    digest = f"sha256:{images_seen:064x}"
    return CheckpointFact(
        file=f"{images_seen}", digest=digest, images_seen=images_seen, bytes=1, metrics={"fd": distance}
    )


def write(order: str, chore: Chore) -> None:
    """Write the file that the order names, and finish."""
    path = Path(order)
    room_of(chore, Volume(path.parents[3])).write(path, b"content")
    chore.tell(link.Finished())


def wait_beside_the_leader(order: str, chore: Chore) -> None:
    """Report a full volume from all processes but the first, which is silent."""
    if chore.place.rank == 0:
        hang(order, chore)
    wait_for_room(order, chore)


def wait_and_block(order: str, chore: Chore) -> None:
    """Report a full volume, and then block, as a run does one of whose processes waits for its pictures."""
    del order
    chore.tell(link.Waiting(shortage=SHORTAGE))
    while True:
        signal.pause()


def wait_for_room(order: str, chore: Chore) -> None:
    """Report a full volume until asked to stop."""
    del order
    while True:
        chore.tell(link.Waiting(shortage=SHORTAGE))
        chore.rest(0.01)
