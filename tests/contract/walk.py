"""One walk of random steps, run by the real script in a real Redis and in the model side by side."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, TypeVar

from contract import owning, reaping
from contract.command import Command
from contract.control import control
from contract.events import EventType
from contract.forgetting import forget_job
from contract.job import CheckpointFact, Failure, Progress, SnapshotFact, State, Want
from contract.keys import EPOCH
from contract.owning import Lease, Verdict
from contract.reaping import Burial
from contract.rebuilding import leave_out, restore
from contract.submission import ANYONE, Idempotency, Priority, Submission
from contract.submitting import read_request, submit
from contract.turns import turns
from tests.contract.laws import LAWS
from tests.contract.record_model import Death, Entry, RecordModel, Ticket
from tests.contract.records import JOB, Records
from tests.contract.sight import KEY, Sight, look, moves

T = TypeVar("T")
Step = tuple[str, tuple[object, ...]]

MAX_DEATHS = 2
LEASE_SECONDS = 3600.0
LAPSED_MS = 1  # a lease that expired long ago

SUBMITTERS = ("ann", "bob", "cid")
IDS = ("job_a", "job_b", "job_c", "job_d")
DEVICES = {"small": 1, "large": 2, "twin": 2}  # of each worker; none has the three that some records need
OWNERS = tuple(DEVICES)
BACK = (0, 0, 1, 1, 2, 3, 4, 6)  # 0: the newest lease held; most older ones are stale
AGAIN = (0, 0, 1, 2)  # 0: the next report; 1: the last one, repeated
WANTS = (Want.RUN, Want.PAUSE, Want.PAUSE, Want.CANCEL)
LEFT_IN = (State.QUEUED, State.QUEUED, State.SUCCEEDED, State.FAILED, State.CANCELLED)
KEYS = ("key_a", "key_b")
ANY_KEY = (None, None, None, *KEYS)
RESTORED_AS = (State.QUEUED, State.PAUSED, State.CANCELLED)

RULES: dict[str, tuple[int, tuple[Sequence[object], ...]]] = {
    "submit": (5, (IDS, (1, 1, 2, 3), SUBMITTERS, tuple(Priority), ANY_KEY)),
    "control": (5, (IDS, WANTS)),
    "forget": (2, (IDS,)),
    "leave_out": (2, (IDS, ANY_KEY, (False, True))),
    "restore": (2, (IDS, RESTORED_AS, ANY_KEY, (True, False), (True, False))),
    "claim": (8, (OWNERS,)),
    "beat": (3, (BACK, (False, True))),
    "report_warning": (1, (BACK, AGAIN)),
    "report_snapshot": (2, (BACK, AGAIN)),
    "report_checkpoint": (2, (BACK, AGAIN, (1, 2))),
    "leave": (3, (BACK, LEFT_IN)),
    "died": (2, (BACK,)),
    "lapse": (4, (IDS,)),
    "reap": (2, ()),
    "restart_slot": (1, (OWNERS,)),
}
"""Each method of `Walk` that is a step: its weight, and the choices for each argument, simplest first."""


class Held(NamedTuple):
    """A lease that some owner holds, perhaps a stale one, in Redis and in the model."""

    lease: Lease
    ticket: Ticket


class Walk:
    """Runs steps in Redis and in the model side by side, starting from one running record."""

    def __init__(self, records: Records, seen: Counter[str]) -> None:
        records.redis.flushall()
        records.redis.set(EPOCH, "1")
        self._records, self._seen = records, seen
        self._model = RecordModel(MAX_DEATHS)
        self._before = self._after = look(records, IDS, KEYS)
        self._hand: list[Held] = []
        self._reports: Counter[str] = Counter()  # the number made so far, by token
        self._standing: set[str] = set()  # submitted and not forgotten, according to the replies
        self._clock = 0
        self.submit(IDS[0], DEVICES[OWNERS[0]], SUBMITTERS[0], Priority.NORMAL, None)
        self.claim(OWNERS[0])

    def take(self, steps: Sequence[Step]) -> None:
        """Run the steps and check model and laws after each. An error gets a note with the steps as code."""
        try:
            for name, arguments in steps:
                getattr(self, name)(*arguments)
                self._agree()
                for law in LAWS:
                    law(self._before, self._after)
        except Exception as error:
            error.add_note("\n".join(_code(step) for step in steps))
            raise

    def submit(
        self, record_id: str, devices: int, submitter: str, priority: Priority, key: str | None
    ) -> None:
        submission = _submission(key, submitter=submitter, priority=priority)
        reply = self._run(submit(JOB, record_id, "{}", devices=devices, submission=submission))
        outcome, said = reply
        if outcome == "known":
            said = read_request(said).id
        assert (outcome, said) == self._model.submit(record_id, devices, submitter, priority, key)
        if outcome == "submitted":
            self._standing.add(record_id)

    def leave_out(self, record_id: str, key: str | None, is_left_out: bool) -> None:
        reply = self._run(leave_out(record_id, _submission(key), is_left_out=is_left_out))
        assert reply == self._model.leave_out(record_id, key, is_left_out=is_left_out)

    def restore(
        self, record_id: str, state: State, key: str | None, was_queued: bool, is_left_out: bool
    ) -> None:
        """Its files say that it was created just now, by anyone, and never claimed."""
        fields = _as_stated(record_id, state, self._records.redis.time())
        command = restore(
            JOB,
            record_id,
            fields,
            (),
            LEASE_SECONDS,
            _submission(key),
            was_queued=was_queued,
            is_left_out=is_left_out,
        )
        reply = self._run(command)
        entry = Entry(record_id, 1, ANYONE, Priority.NORMAL, state, events=[f"state {state}"])
        assert reply == self._model.restore(entry, key, was_queued=was_queued, is_left_out=is_left_out)
        if reply == "restored":
            self._standing.add(record_id)

    def control(self, record_id: str, want: Want) -> None:
        assert self._run(control(JOB, record_id, want)) == self._model.control(record_id, want)

    def forget(self, record_id: str) -> None:
        reply = self._run(forget_job(record_id))
        assert reply == self._model.forget(record_id)
        if reply[0] == "forgotten":
            self._standing.remove(record_id)

    def claim(self, owner: str) -> None:
        devices = DEVICES[owner]
        claim = self._run(owning.claim(JOB, owner, lease_seconds=LEASE_SECONDS, devices=devices))
        ticket = self._model.claim(owner, devices)
        assert (claim and claim.record.id) == (ticket and ticket.id)
        if claim and ticket:
            assert claim.fields == self._after.hashes[ticket.id]
            assert all(int(claim.token) > token for token in self._tokens(ticket.id))
            self._hand.append(Held(Lease(JOB, ticket.id, claim.token, LEASE_SECONDS), ticket))

    def beat(self, back: int, has_progress: bool) -> None:
        held, done = self._in_hand(back), self._clock if has_progress else None
        progress = None if done is None else Progress(done=done, total=done)
        self._act(held, owning.beat(held.lease, progress), self._model.beat(held.ticket, done))

    def report_warning(self, back: int, again: int) -> None:
        held, number = self._to_report(back, again)
        command = owning.report(held.lease, number, event=(EventType.WARNING, {"code": "x"}))
        self._act(held, command, self._model.report_warning(held.ticket, number))

    def report_snapshot(self, back: int, again: int) -> None:
        (held, number), images_seen = self._to_report(back, again), self._clock
        snapshot = SnapshotFact(file="f", images_seen=images_seen).model_dump_json()
        command = owning.report(held.lease, number, fields={"snapshot": snapshot, "deaths": "0"})
        self._act(held, command, self._model.report_snapshot(held.ticket, number, images_seen))

    def report_checkpoint(self, back: int, again: int, images_seen: int) -> None:
        held, number = self._to_report(back, again)
        digest = f"{held.ticket.id}-{images_seen}"  # jobs never share one: a file's header names its job
        checkpoint = CheckpointFact(file="f", digest=digest, images_seen=images_seen, bytes=1)
        fields = {"checkpoint": checkpoint.model_dump_json()}
        event = (EventType.CHECKPOINT, checkpoint.model_dump())
        command = owning.report(held.lease, number, fields=fields, checkpoint=checkpoint, event=event)
        self._act(held, command, self._model.report_checkpoint(held.ticket, number, digest))

    def leave(self, back: int, state: State) -> None:
        held = self._in_hand(back)
        error = Failure(code="unreadable", detail="y") if state is State.FAILED else None
        command = owning.leave(held.lease, state, error=error)
        self._act(held, command, self._model.leave(held.ticket, state, error.code if error else None))

    def died(self, back: int) -> None:
        held = self._in_hand(back)
        self._act(held, reaping.died(held.lease, "killed", MAX_DEATHS), self._model.died(held.ticket))

    def lapse(self, record_id: str) -> None:
        """Move a running record's lease into the past, because Redis TIME cannot be set."""
        if self._model.lapse(record_id):
            self._see("lapse", lambda: _let_lapse(self._records, record_id))

    def reap(self) -> None:
        buried = self._run(reaping.reap(JOB, max_deaths=MAX_DEATHS))
        assert sorted(map(_death, buried)) == sorted(self._model.reap())

    def restart_slot(self, owner: str) -> None:
        buried = self._run(reaping.reap(JOB, max_deaths=MAX_DEATHS, owner=owner))
        assert sorted(map(_death, buried)) == sorted(self._model.reap(owner))

    def _in_hand(self, back: int) -> Held:
        return self._hand[max(0, len(self._hand) - 1 - back)]

    def _to_report(self, back: int, again: int) -> tuple[Held, int]:
        """A held lease, with the number of its owner's next report or of a repeated one."""
        held = self._in_hand(back)
        made = self._reports[held.lease.token]
        number = max(1, made + 1 - again)
        self._reports[held.lease.token] = max(made, number)
        return held, number

    def _act(self, held: Held, command: Command[T | Verdict], expected: Death | Verdict | Want) -> None:
        """Only the newest lease of a running record has an effect; any other changes nothing."""
        lease = held.lease
        reply = self._run(command)
        assert (_death(reply) if isinstance(reply, Burial) else reply) == expected
        found = self._before.hashes.get(lease.id)
        if found and (found["state"], found["token"]) == (State.RUNNING, lease.token):
            assert reply not in (Verdict.LOST, Verdict.UNKNOWN)
            assert int(lease.token) == max(self._tokens(lease.id))
        else:
            assert isinstance(reply, Burial) or reply == (Verdict.LOST if found else Verdict.UNKNOWN)
            assert self._after == self._before

    def _tokens(self, record_id: str) -> list[int]:
        """Every token that was granted for this id."""
        return [int(held.lease.token) for held in self._hand if held.lease.id == record_id]

    def _run(self, command: Command[T]) -> T:
        return self._see(command.arguments[1], lambda: self._records.run(command))

    def _see(self, name: str, act: Callable[[], T]) -> T:
        """Perform one step, and look at Redis after it."""
        self._before, reply = self._after, act()
        self._after = look(self._records, IDS, KEYS)
        self._clock += 1
        self._seen["steps"] += 1
        self._seen[f"{name}: {_word(reply)}"] += 1
        self._seen.update(f"{origin} to {to}" for origin, to in moves(self._before, self._after))
        return reply

    def _agree(self) -> None:
        """Assert that Redis matches the model and that no record is lost."""
        after = self._after
        assert {record_id: _entry(after, record_id) for record_id in after.hashes} == self._model.entries
        assert list(after.indexes[KEY.all]) == list(self._model.entries)
        assert list(after.indexes[KEY.queued]) == self._model.queue()
        assert list(self._records.run(turns(JOB)).ids) == self._model.turns()
        assert sorted(after.indexes[KEY.servable]) == sorted(self._model.servable())
        assert after.digests == self._model.digests()
        assert after.left_out == self._model.left_out
        assert after.requests == self._model.requests()
        assert set(after.hashes) == set(after.indexes[KEY.all]) == after.unmirrored == self._standing


def _submission(key: str | None, **said: Any) -> Submission:
    return Submission(idempotency=Idempotency.of(key, "the same body"), **said)


def _as_stated(record_id: str, state: State, now: tuple[int, int]) -> dict[str, str]:
    """The fields of a record as a rebuild reads them from the volume."""
    seconds, us = now
    fields = dict.fromkeys(("token", "attempt", "deaths", "revision"), "0")
    fields |= {"id": record_id, "state": state, "want": Want.RUN, "spec": "{}", "devices": "1"}
    ended = {"finished_ms": str(seconds * 1000)} if state.is_terminal else {}
    return fields | {"created_us": str(seconds * 10**6 + us)} | ended


def _let_lapse(records: Records, record_id: str) -> None:
    records.redis.zadd(KEY.leased, {record_id: LAPSED_MS})
    records.redis.hset(KEY.record_of + record_id, "lease_until_ms", LAPSED_MS)


def _entry(sight: Sight, record_id: str) -> Entry:
    """A record in Redis, as the model represents it."""
    record = sight.records[record_id]
    return Entry(
        id=record.id,
        devices=record.devices,
        submitter=record.submitter,
        priority=record.priority,
        state=record.state,
        want=record.want,
        owner=record.owner,
        is_lapsed=record.lease_until_ms == LAPSED_MS,
        attempt=record.attempt,
        deaths=record.deaths,
        reports=record.reports,
        unconfirmed=record.unconfirmed,
        progress=record.progress.done if record.progress else None,
        snapshot=record.snapshot.images_seen if record.snapshot else None,
        checkpoints=[json.loads(fact)["digest"] for fact in sight.checkpoints.get(record_id, [])],
        error=record.error.code if record.error else None,
        events=[_told(entry["type"], json.loads(entry["data"])) for _, entry in sight.events[record_id]],
    )


def _told(kind: str, said: Mapping[str, str]) -> str:
    """An event, as the model represents it."""
    if kind != EventType.STATE:
        return kind
    return f"state {said['state']}" + (f", wanted {said['want']}" if "want" in said else "")


def _death(burial: Burial) -> Death:
    return burial.id, burial.state, burial.error.code if burial.error else None


def _word(reply: object) -> str:
    """A short name of a reply, for counting."""
    if isinstance(reply, Burial):
        return f"{reply.state}"
    if isinstance(reply, list):
        return f"{len(reply)} buried"
    if isinstance(reply, tuple):
        return ", ".join(reply)
    return reply if isinstance(reply, str) else "granted" if reply else "nothing"


def _code(step: Step) -> str:
    """A step as a line of code."""
    name, arguments = step
    written = [
        f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else repr(value)
        for value in arguments
    ]
    return f"walk.{name}({', '.join(written)})"
