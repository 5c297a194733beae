"""A writer without room waits, reports it, and goes on; a write that must not wait is deferred."""

import errno
import os
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from contract.durable import RequireRoom
from contract.job import Shortage
from contract.volume import Volume
from worker import room as room_module
from worker.later import Later
from worker.room import LONGEST_PAUSE_SECONDS, READ_PATIENCE_SECONDS, SPARE_BYTES, Room

JOB = "job_0000000000000001"


class Refusals:
    """A write that fails with these errors, one per try, before it succeeds."""

    def __init__(self, *codes: int) -> None:
        self._codes = deque(codes)
        self.taken = 0

    def __call__(self, require_room: RequireRoom = lambda: None) -> str:
        require_room()
        if self._codes:
            code = self._codes.popleft()
            raise OSError(code, os.strerror(code))
        self.taken += 1
        return "written"


class Patience:
    """Rests without sleeping, and records the pauses and the reported shortages."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self.rests: list[float] = []
        self.told: list[Shortage | None] = []

    def room(self, spare_bytes: int = 0) -> Room:
        return Room(self._volume, self.told.append, self.rests.append, spare_bytes)


def test_write_that_succeeds_at_once_reports_nothing(volume: Volume, tmp_path: Path) -> None:
    patience = Patience(volume)
    assert patience.room().insist(Refusals(), tmp_path / "file", 100) == "written"
    assert not patience.told
    assert not patience.rests


def test_every_failed_try_and_the_end_of_the_wait_are_reported(volume: Volume, tmp_path: Path) -> None:
    patience = Patience(volume)
    refusals = Refusals(*[errno.ENOSPC] * 7)
    assert patience.room().insist(refusals, tmp_path / "file", 12_345) == "written"
    *lacking, last = patience.told
    assert last is None
    assert [shortage.code for shortage in lacking if shortage] == ["volume_full"] * 7
    assert len({shortage.since_ms for shortage in lacking if shortage}) == 1
    assert patience.rests == [0.25, 0.5, 1, 2, 3, 3, 3]
    assert refusals.taken == 1


@pytest.mark.parametrize(
    ("error", "code", "advice"),
    [
        (errno.ENOSPC, "volume_full", "Delete jobs or datasets, or make the volume larger."),
        (errno.EDQUOT, "volume_full", "raise the quota"),
        (errno.EROFS, "volume_read_only", "Make it writable."),
        (errno.EIO, "volume_failing", "Check the disk; the kernel log has details."),
        (errno.ESTALE, "volume_failing", "Stale file handle"),
        (errno.EHOSTDOWN, "volume_failing", "Host is down"),
    ],
)
def test_shortage_says_what_is_needed_what_is_free_and_what_to_do(
    volume: Volume, tmp_path: Path, error: int, code: str, advice: str
) -> None:
    patience = Patience(volume)
    patience.room().insist(Refusals(error), tmp_path / "not" / "made" / "file", 12_345)
    told = patience.told[0]
    assert told is not None
    assert (told.code, told.needed_bytes) == (code, 12_345)
    assert told.free_bytes is not None
    assert told.free_bytes > 0
    assert advice in told.detail
    assert "12,345 bytes" in told.detail
    assert str(tmp_path / "not" / "made") in told.detail


def test_error_that_waiting_does_not_cure_is_raised(volume: Volume, tmp_path: Path) -> None:
    patience = Patience(volume)
    with pytest.raises(IsADirectoryError):
        patience.room().insist(Refusals(errno.EISDIR), tmp_path / "file", 1)
    assert not patience.told


def test_exception_that_ends_the_wait_is_raised_and_nothing_is_written(
    volume: Volume, tmp_path: Path
) -> None:
    def stop(seconds: float) -> None:
        raise InterruptedError

    refusals = Refusals(errno.ENOSPC)
    with pytest.raises(InterruptedError):
        Room(volume, lambda _: None, stop).insist(refusals, tmp_path / "file", 1)
    assert not refusals.taken


def test_child_leaves_room_for_facts_and_events(
    volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frees = deque(SPARE_BYTES + more for more in (99, 98, 100))
    monkeypatch.setattr(os, "statvfs", lambda _: _of_free_bytes(frees.popleft()))
    patience, refusals = Patience(volume), Refusals()
    patience.room(SPARE_BYTES).insist(refusals, tmp_path / "file", 100)
    assert [shortage and shortage.free_bytes for shortage in patience.told] == [SPARE_BYTES + 98, None]
    assert refusals.taken == 1


def test_file_is_written_whole_and_no_temporary_file_is_left(volume: Volume, tmp_path: Path) -> None:
    Patience(volume).room().write(tmp_path / "deep" / "file", b"content")
    assert (tmp_path / "deep" / "file").read_bytes() == b"content"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file"]


def test_rejected_write_is_retried_once_there_is_room(volume: Volume) -> None:
    later = Later(volume)
    made: list[str] = []
    later.write(_once_refused(lambda: made.append("first")))
    later.write(lambda: made.append("second"))
    assert made == ["second"]
    for _ in range(2):
        later.catch_up()
    assert made == ["second", "first"]


def test_deferred_write_for_a_deleted_record_is_dropped(volume: Volume) -> None:
    later = Later(volume)
    refusals = Refusals(errno.EROFS, errno.ENOENT)
    later.write(refusals)
    for _ in range(2):
        later.catch_up()
    assert not refusals.taken


def away(volume: Volume) -> Callable[[], None]:
    """Unmount the volume; returns what mounts it again."""
    place = volume.jobs.rename(volume.root / "away")

    def mount() -> None:
        place.rename(volume.jobs)

    return mount


def test_writer_waits_for_a_volume_that_is_away_and_creates_nothing(volume: Volume) -> None:
    volume.job(JOB).mkdir()
    mount = away(volume)
    told: list[Shortage | None] = []
    room = Room(volume, told.append, lambda _: mount())
    room.write(volume.snapshot(JOB, "file"), b"content")
    assert volume.snapshot(JOB, "file").read_bytes() == b"content"
    assert [shortage and shortage.code for shortage in told] == ["volume_failing", None]


def test_read_waits_for_a_volume_that_is_away_and_a_missing_file_is_missing(volume: Volume) -> None:
    volume.job(JOB).mkdir()
    volume.spec(JOB).write_text("spec")
    mount = away(volume)
    told: list[Shortage | None] = []
    room = Room(volume, told.append, lambda _: mount())
    assert room.read(volume.spec(JOB).read_text, volume.spec(JOB)) == "spec"
    assert [shortage and shortage.code for shortage in told] == ["volume_failing", None]
    with pytest.raises(FileNotFoundError):
        room.read(volume.intent(JOB).read_text, volume.intent(JOB))


def test_refused_read_is_repeated_and_reported(volume: Volume) -> None:
    patience = Patience(volume)
    refusals = Refusals(errno.EIO, errno.ESTALE, errno.ETIMEDOUT)
    assert patience.room().read(refusals, volume.spec(JOB)) == "written"
    assert [shortage and shortage.code for shortage in patience.told] == ["volume_failing"] * 3 + [None]
    told = patience.told[0]
    assert told is not None
    assert f"{volume.spec(JOB)} is to be read" in told.detail
    assert patience.rests == [0.25, 0.5, 1]


def test_one_file_that_stays_unreadable_is_given_up(volume: Volume) -> None:
    patience = Patience(volume)
    with pytest.raises(OSError, match="Input/output error"):
        patience.room().read(Refusals(*[errno.EIO] * 100), volume.spec(JOB))
    assert READ_PATIENCE_SECONDS <= sum(patience.rests) < READ_PATIENCE_SECONDS + LONGEST_PAUSE_SECONDS
    assert patience.told[-1] is None


@pytest.mark.parametrize(
    ("error", "is_awaited"), [(errno.EIO, True), (errno.EROFS, True), (errno.ENOSPC, False)]
)
def test_nothing_is_given_up_while_the_whole_volume_fails(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, error: int, is_awaited: bool
) -> None:
    """Such as a disk that was unplugged: the kernel still answers whether it has a directory."""
    monkeypatch.setattr(room_module, "write_probe", lambda _: Refusals(error)())
    patience, refusals = Patience(volume), Refusals(*[errno.EIO] * 99)
    with nullcontext() if is_awaited else pytest.raises(OSError, match="Input/output error"):
        patience.room().read(refusals, volume.spec(JOB))
    assert refusals.taken == is_awaited


class Lost(Volume):
    """A volume whose server is gone: not even looking at it succeeds."""

    def require(self) -> None:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))


def test_read_waits_for_a_volume_that_cannot_even_be_looked_at(volume: Volume) -> None:
    class MountedAgainError(Exception):
        pass

    def rest(seconds: float) -> None:
        raise MountedAgainError

    told: list[Shortage | None] = []
    with pytest.raises(MountedAgainError):
        Room(Lost(volume.root), told.append, rest).read(Refusals(errno.ENOTCONN), volume.spec(JOB))
    assert [shortage and shortage.code for shortage in told] == ["volume_failing"]


def test_deferred_write_waits_until_the_volume_is_back(volume: Volume) -> None:
    later = Later(volume)
    volume.job(JOB).mkdir()
    mount = away(volume)
    later.write(lambda: volume.intent(JOB).write_text("stop"))
    later.owe(lambda: volume.spec(JOB).write_text("spec"))
    later.catch_up()
    mount()
    later.catch_up()
    assert (volume.intent(JOB).read_text(), volume.spec(JOB).read_text()) == ("stop", "spec")


def _once_refused(statement: Callable[[], object]) -> Callable[[], None]:
    refusals = Refusals(errno.ENOSPC, errno.EACCES)

    def write() -> None:
        refusals()
        statement()

    return write


def _of_free_bytes(free_bytes: int) -> os.statvfs_result:
    return os.statvfs_result((1, 1, 2**40, free_bytes, free_bytes, 100, 100, 100, 0, 255))
