"""The processes that do one record's work together: the first leads and reports, the others only compute."""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from worker import link
from worker.child import Child


class ChildGroup:
    """One process for each device that a worker owns. Most records need only the first."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._leader, *self._idle = children
        self._others: list[Child] = []
        self._meeting: TemporaryDirectory[str] | None = None

    @classmethod
    def start(cls, size: int, leader: Callable[[], Child], other: Callable[[], Child]) -> Self:
        """Fork idle processes."""
        return cls([leader(), *(other() for _ in range(size - 1))])

    def begin(self, work_name: str, order: str, ranks: int) -> None:
        """Send the first `ranks` processes the order, each with its place, and end the others."""
        self._others, unneeded = self._idle[: ranks - 1], self._idle[ranks - 1 :]
        self._idle = []
        for child in unneeded:
            child.end()
        if len(self._others) < ranks - 1:
            raise ValueError(f"the work needs {ranks} processes, and there are {len(self._others) + 1}")
        meeting_point = self._meeting_point() if ranks > 1 else None
        for rank, child in enumerate([self._leader, *self._others]):
            child.begin(work_name, order, link.Place(rank=rank, ranks=ranks, meeting_point=meeting_point))

    def messages(self, timeout_seconds: float) -> list[link.Message]:
        """Messages since the last call. All but the leader report only waits, and errors that end them."""
        heard = self._leader.messages(timeout_seconds)
        for child in self._others:
            heard += child.messages(0)
        return heard

    @property
    def heard_at(self) -> float:
        """When one last sent a message. While the leader waits for a hung process it is silent, too."""
        return max(child.heard_at for child in (self._leader, *self._others))

    def listen_anew(self) -> None:
        """Measure its silence from now on."""
        for child in (self._leader, *self._others):
            child.listen_anew()

    def ask_to_stop(self) -> None:
        self._leader.ask_to_stop()

    def is_slow_to_stop(self, grace_seconds: float) -> bool:
        return self._leader.is_slow_to_stop(grace_seconds)

    @property
    def is_alive(self) -> bool:
        """Whether the work can still finish: the leader is alive, and no other process has failed."""
        return self._leader.is_alive and not any(child.has_failed for child in self._others)

    def end(self, patience_seconds: float | None = None) -> int:
        """Kill those still running, and return the exit code of the one whose death ended the work.

        Waits until all have ended, for each at most `patience_seconds`.
        """
        children = (self._leader, *self._others, *self._idle)
        codes = [child.end() for child in children if not child.is_alive]
        for child in children:
            child.kill()
        for child in children:
            child.end(patience_seconds)
        if self._meeting:
            self._meeting.cleanup()
            self._meeting = None
        return min(codes, key=_weight, default=-signal.SIGKILL)

    def _meeting_point(self) -> Path:
        self._meeting = TemporaryDirectory(prefix="dcgan-ranks-")
        return Path(self._meeting.name) / "meeting-point"


def _weight(exit_code: int) -> int:
    """Rank exit codes by how well they explain the end: kills, then memory, then errors, which may follow."""
    if exit_code < 0:
        return 0
    if exit_code == link.EXIT_OUT_OF_MEMORY:
        return 1
    return 2 if exit_code else 3
