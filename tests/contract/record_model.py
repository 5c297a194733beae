"""A model of the store's commands in plain Python: one dictionary; no Redis, no clock, no indexes.

It is written from docs/architecture.md and `TRANSITIONS`, never from the script. It derives the queue, leases
and indexes from the records, so they cannot be inconsistent. A fence models a token: each is newer than all
earlier ones.
"""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from contract.control import ControlOutcome
from contract.forgetting import ForgetOutcome
from contract.job import TRANSITIONS, State, Want
from contract.owning import Verdict
from contract.rebuilding import RestoreOutcome
from contract.submission import Priority
from contract.submitting import SubmitOutcome

POISON = "died_repeatedly"

REST = {Want.RUN: State.QUEUED, Want.PAUSE: State.PAUSED, Want.CANCEL: State.CANCELLED}
"""The state of an unfinished record without an owner, by what is wanted."""


@dataclass
class Entry:
    """The observable part of a record. Progress and snapshot are in images; `error` is only the code."""

    id: str
    devices: int
    submitter: str
    priority: Priority
    state: State = State.QUEUED
    want: Want = Want.RUN
    owner: str | None = None
    is_lapsed: bool = False
    attempt: int = 0
    deaths: int = 0
    reports: int = 0
    unconfirmed: bool = False
    progress: int | None = None
    snapshot: int | None = None
    checkpoints: list[str] = field(default_factory=list)
    error: str | None = None
    events: list[str] = field(default_factory=lambda: ["state queued"])
    key: str | None = field(default=None, compare=False)
    fence: int = field(default=0, compare=False)
    buried_fence: int | None = field(default=None, compare=False)


class Ticket(NamedTuple):
    """The model's lease, which an owner presents with every command."""

    id: str
    fence: int


Death = tuple[str, State, str | None]  # the record's id, its new state, its error code


class RecordModel:
    """All records, in order of submission."""

    def __init__(self, max_deaths: int) -> None:
        self.entries: dict[str, Entry] = {}
        self.left_out: set[str] = set()
        self._max_deaths = max_deaths
        self._fences = itertools.count(1)
        self._claims = itertools.count(1)
        self._served: dict[str, int] = {}
        self._made_by_key: dict[str, str] = {}
        self._expiring: set[str] = set()

    def of(self, *states: State) -> list[str]:
        """The ids of the records in these states."""
        return [entry.id for entry in self.entries.values() if entry.state in states]

    def servable(self) -> list[str]:
        """The ids of jobs that succeeded with a checkpoint."""
        return [record_id for record_id in self.of(State.SUCCEEDED) if self.entries[record_id].checkpoints]

    def digests(self) -> dict[str, str]:
        """The job of each generator, by digest."""
        return {digest: entry.id for entry in self.entries.values() for digest in entry.checkpoints}

    def queue(self) -> list[str]:
        """The queued records by priority, then in order of submission."""
        return sorted(self.of(State.QUEUED), key=lambda record_id: _level(self.entries[record_id]))

    def turns(self) -> list[str]:
        """The order in which the queue is served if no job ends and none is submitted."""
        waiting, running, served = self.queue(), self._running(), Counter(self._served)
        turns: list[str] = []
        while waiting:
            turn = min(waiting, key=lambda record_id: _turn(self.entries[record_id], running, served))
            waiting.remove(turn)
            turns.append(turn)
            running[self.entries[turn].submitter] += 1
            served[self.entries[turn].submitter] = next(self._claims)
        return turns

    def _running(self) -> Counter[str]:
        return Counter(self.entries[record_id].submitter for record_id in self.of(State.RUNNING))

    def submit(
        self, record_id: str, devices: int, submitter: str, priority: Priority, key: str | None
    ) -> tuple[SubmitOutcome, str]:
        """Return the outcome, and the state or the id of the record that the key created."""
        if record_id in self.entries:
            return "exists", self.entries[record_id].state
        if key in self._made_by_key:
            return "known", self._made_by_key[key]
        self._remember(key, record_id)
        self.entries[record_id] = Entry(record_id, devices, submitter, priority, key=key)
        return "submitted", State.QUEUED

    def control(self, record_id: str, want: Want) -> tuple[ControlOutcome, str]:
        entry = self.entries.get(record_id)
        if entry is None:
            return "missing", ""
        if entry.state.is_terminal:
            is_repeated = (entry.state, want) == (State.CANCELLED, Want.CANCEL)
            return "accepted" if is_repeated else "conflict", entry.state
        if entry.state is State.RUNNING:
            if entry.want is Want.CANCEL and want is not Want.CANCEL:
                return "conflict", "cancelling"
            if entry.want is not want:
                entry.want = want
                entry.events.append(f"state running, wanted {want}")
            return "accepted", State.RUNNING
        if entry.state is not REST[want]:
            _move(entry, REST[want])
        return "accepted", entry.state

    def leave_out(self, record_id: str, key: str | None, *, is_left_out: bool) -> bool:
        """Whether it was not left out before. Not done if it exists, or must be so already, and is not."""
        is_new = record_id not in self.left_out
        if record_id in self.entries or (is_new and is_left_out):
            return False
        self.left_out.add(record_id)
        self._remember(key, record_id, expires=True)
        return is_new

    def restore(
        self, entry: Entry, key: str | None, *, was_queued: bool, is_left_out: bool
    ) -> RestoreOutcome:
        """Restore a record as it was last known; if `is_left_out`, only if it still is."""
        was_left_out = entry.id in self.left_out
        self.left_out.discard(entry.id)
        if entry.id in self.entries:
            return "exists"
        if is_left_out and not was_left_out:
            return "settled"
        if not was_queued and key is not None and self._made_by_key.get(key, entry.id) != entry.id:
            return "twin"
        self._remember(key, entry.id)
        self.entries[entry.id] = replace(entry, key=key)
        return "restored"

    def requests(self) -> dict[str, bool]:
        """The remembered keys, and whether each is going to expire."""
        return {key: key in self._expiring for key in self._made_by_key}

    def _remember(self, key: str | None, record_id: str, *, expires: bool = False) -> None:
        if key is not None and self._made_by_key.setdefault(key, record_id) == record_id:
            (self._expiring.add if expires else self._expiring.discard)(key)

    def forget(self, record_id: str) -> tuple[ForgetOutcome, str]:
        entry = self.entries.get(record_id)
        if entry is None:
            return "rebuilding" if record_id in self.left_out else "missing", ""
        if not entry.state.is_terminal:
            return "live", entry.state
        del self.entries[record_id]
        self.left_out.discard(record_id)
        if entry.key and self._made_by_key[entry.key] == record_id:
            self._expiring.add(entry.key)
        return "forgotten", entry.state

    def claim(self, owner: str, devices: int) -> Ticket | None:
        """Grant what the owner already holds, else the queued record whose turn it is, of those that fit."""
        held = [entry for entry in self.entries.values() if entry.owner == owner]
        queued = [self.entries[record_id] for record_id in self.queue()]
        fitting = [entry for entry in queued if entry.devices <= devices]
        running, served = self._running(), Counter(self._served)
        if held:
            entry = held[0]
        elif fitting:
            entry = min(fitting, key=lambda one: _turn(one, running, served))
            entry.attempt += 1
            self._served[entry.submitter] = next(self._claims)
            _move(entry, State.RUNNING)
        else:
            return None
        entry.owner, entry.unconfirmed, entry.is_lapsed, entry.reports = owner, True, False, 0
        entry.fence = next(self._fences)
        return Ticket(entry.id, entry.fence)

    def beat(self, ticket: Ticket, progress: int | None) -> Want | Verdict:
        entry = self._owned(ticket)
        if isinstance(entry, Verdict):
            return entry
        entry.is_lapsed = False
        if progress is not None:
            entry.progress = progress
            entry.events.append("progress")
        return entry.want

    def report_warning(self, ticket: Ticket, number: int) -> Verdict:
        return self._report(ticket, number, lambda entry: entry.events.append("warning"))

    def report_snapshot(self, ticket: Ticket, number: int, images_seen: int) -> Verdict:
        def save(entry: Entry) -> None:
            entry.snapshot, entry.deaths = images_seen, 0

        return self._report(ticket, number, save)

    def report_checkpoint(self, ticket: Ticket, number: int, digest: str) -> Verdict:
        def publish(entry: Entry) -> None:
            if digest not in entry.checkpoints:
                entry.checkpoints.append(digest)
                entry.events.append("checkpoint")

        return self._report(ticket, number, publish)

    def _report(self, ticket: Ticket, number: int, state_fact: Callable[[Entry], None]) -> Verdict:
        entry = self._owned(ticket)
        if isinstance(entry, Verdict):
            return entry
        if number > entry.reports:
            entry.reports = number
            state_fact(entry)
        return Verdict.ACCEPTED

    def leave(self, ticket: Ticket, state: State, error: str | None) -> Verdict:
        entry = self._owned(ticket)
        if isinstance(entry, Verdict):
            return entry
        _move(entry, REST[entry.want] if state is State.QUEUED else state, error)
        return Verdict.ACCEPTED

    def died(self, ticket: Ticket) -> Death | Verdict:
        """Bury the record. Idempotent until it is claimed again."""
        dead = self.entries.get(ticket.id)
        if dead and dead.buried_fence == ticket.fence and dead.state is not State.RUNNING:
            return dead.id, dead.state, dead.error
        entry = self._owned(ticket)
        return entry if isinstance(entry, Verdict) else self._bury(entry)

    def _owned(self, ticket: Ticket) -> Entry | Verdict:
        """The record, if this is its newest ticket and its owner has not released it. Confirms the claim."""
        entry = self.entries.get(ticket.id)
        if entry is None:
            return Verdict.UNKNOWN
        if entry.owner is None or entry.fence != ticket.fence:
            return Verdict.LOST
        entry.unconfirmed = False
        return entry

    def lapse(self, record_id: str) -> bool:
        """Expire the lease of a running record. Its owner may still renew it until it is reaped."""
        is_running = record_id in self.of(State.RUNNING)
        if is_running:
            self.entries[record_id].is_lapsed = True
        return is_running

    def reap(self, owner: str | None = None) -> list[Death]:
        """Bury the records with lapsed leases, or with `owner` what that slot held."""
        return [
            self._bury(entry)
            for entry in self.entries.values()
            if entry.owner is not None and (entry.is_lapsed if owner is None else entry.owner == owner)
        ]

    def _bury(self, entry: Entry) -> Death:
        """Cancelling takes precedence over poison, and poison over pausing. Only confirmed claims count."""
        entry.buried_fence, entry.fence = entry.fence, next(self._fences)
        is_death = not entry.unconfirmed
        entry.deaths += is_death
        if is_death and entry.deaths >= self._max_deaths and entry.want is not Want.CANCEL:
            _move(entry, State.FAILED, POISON)
        else:
            _move(entry, REST[entry.want])
        return entry.id, entry.state, entry.error


def _level(entry: Entry) -> int:
    return list(Priority).index(entry.priority)


def _turn(entry: Entry, running: Counter[str], served: Counter[str]) -> tuple[int, int, int]:
    """Sort key: by priority, then fewest running jobs of the submitter, then least recently served."""
    return _level(entry), running[entry.submitter], served[entry.submitter]


def _move(entry: Entry, to: State, error: str | None = None) -> None:
    assert to in TRANSITIONS[entry.state]
    entry.state, entry.error = to, error
    if to is not State.RUNNING:
        entry.owner, entry.unconfirmed, entry.is_lapsed = None, False, False
    if to in (State.QUEUED, State.PAUSED):
        entry.want = Want.RUN  # fulfilled, or no longer wanted
    entry.events.append(f"state {to}")
