"""How the ownership of a record ends: the state in which it is left, or why the child died."""

import contextlib
import signal
from dataclasses import dataclass
from typing import Any

from contract.job import Failure, Shortage, State
from contract.volume import Volume, is_gone
from worker import link, memory


@dataclass(frozen=True)
class Outcome:
    """The state in which an owner leaves its record, and why."""

    state: State
    reason: str | None = None
    error: Failure | None = None
    result: dict[str, Any] | None = None


CANCELLED = Outcome(State.CANCELLED, "cancelled on request")
SLOW_TO_STOP = Outcome(State.QUEUED, "returned to the queue at its last snapshot: saving took too long")


def handed_back(shortage: Shortage | None, *, on_request: bool) -> Outcome:
    """The outcome of unfinished work: paused on request, else returned because the worker stops."""
    reason = "paused on request" if on_request else "returned to the queue because its worker is stopping"
    if shortage:
        reason += (
            f"; it resumes from its last snapshot, since the volume accepted no newer one ({shortage.code})"
        )
    return Outcome(State.QUEUED, reason)


def cause_of_death(exit_code: int, oom_kills_before: int | None, last_words: str | None) -> str:
    """Why a child died without announcing its end."""
    if exit_code == link.EXIT_OUT_OF_MEMORY:
        return "it ran out of memory: choose a smaller batch_size, resolution or width"
    if exit_code == -9:
        after = memory.oom_kills()
        if after is not None and oom_kills_before is not None and after > oom_kills_before:
            return "the kernel killed it for memory: choose a smaller batch_size, resolution or width"
        return "its process was killed, possibly for memory"
    if exit_code == -signal.SIGBUS:
        return "the pictures, or another file that it had mapped into memory, could not be read (SIGBUS)"
    return last_words or f"its process ended with exit code {exit_code}"


def in_words(error: Exception) -> str:
    """The type of an unexpected error, and its text unless it has none."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def lost_files(volume: Volume, record_id: str) -> str | None:
    """Says that a record's directory is gone from a volume that is there; None if that is not certain."""
    home = volume.home(record_id)
    with contextlib.suppress(OSError):
        if is_gone(home):
            return f"its directory {home} is gone from the volume"
    return None
