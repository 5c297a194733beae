"""Re-creates records from their files. Running jobs keep their owners; what cannot be read is left out."""

import contextlib
import json
import logging
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from contract.command import Command
from contract.events import Event, EventType
from contract.identifiers import is_record_id, kind_of
from contract.job import CheckpointFact, Failure, Intent, State, Want, best_checkpoint
from contract.kept import Kept
from contract.keys import RecordKind
from contract.rebuilding import REBUILT, RestoreOutcome, go_on, leave_out, restore
from contract.submission import PLAIN, Submission, read_submission
from contract.volume import Volume, entries, is_gone
from contract.webhook import TOLD_FOR_SECONDS, Endpoint, Notification, read_told
from worker.facts import Facts, read_facts
from worker.mirror import last_event
from worker.store import Rebuild, Store

logger = logging.getLogger(__name__)

UNMIRRORED_EVENTS = 1000
"""More than can have happened since the last mirroring, so that no event id is used twice. Leaves a gap."""

LOOKED_AT_AT_ONCE = 100
"""How many homes are looked at before the lock is extended."""


def restore_records(store: Rebuild, volume: Volume, lease_seconds: float) -> int:
    """Restore them all, before the records stand; return how many."""
    count = 0
    for root in (volume.datasets, volume.jobs):
        homes = _going_on(entries(root), store)
        for record_id in _surest_first(_submitted(homes), volume):
            count += _restore(record_id, store, volume, lease_seconds)
    return count


def restore_left_out_records(store: Store, volume: Volume, lease_seconds: float) -> None:
    """Retry those that could not be read."""
    left_out = list(filter(is_record_id, store.left_out()))
    for kind in (RecordKind.DATASET, RecordKind.JOB):
        for record_id in _surest_first((one for one in left_out if kind_of(one) is kind), volume):
            if _restore(record_id, store, volume, lease_seconds, is_left_out=True):
                logger.warning("%s: it can be read again, and is back", record_id)


def _going_on(homes: Iterable[Path], store: Rebuild) -> Iterator[Path]:
    """Extend the lock while they are looked at: of many on a slow volume, that takes longer than it lasts."""
    for number, home in enumerate(homes):
        if number % LOOKED_AT_AT_ONCE == 0:
            store.run(go_on())
        yield home


def _submitted(homes: Iterable[Path]) -> Iterator[str]:
    """The ids of records; not the names of copies that other programs have put beside them."""
    for home in filter(_has_spec, homes):
        if is_record_id(home.name):
            yield home.name
        else:
            logger.warning("%s: ignored, since no directory of the service has such a name", home)


def _has_spec(home: Path) -> bool:
    """Whether its submission was completed. True if that cannot be determined."""
    try:
        (home / "spec.json").stat()
    except OSError as error:
        return not isinstance(error, FileNotFoundError)
    return True


def _surest_first(record_ids: Iterable[str], volume: Volume) -> list[str]:
    """Sort by queued first, then youngest first: of two records of one request, the first is kept."""
    doubts = {record_id: _doubt(record_id, volume) for record_id in record_ids}
    return sorted(doubts, key=doubts.__getitem__)


def _doubt(record_id: str, volume: Volume) -> tuple[bool, int]:
    with contextlib.suppress(OSError):
        return not _was_queued(record_id, volume), -volume.spec(record_id).stat().st_mtime_ns
    return True, 0


def _was_queued(record_id: str, volume: Volume) -> bool:
    """Whether it was ever queued.

    If not, no client knows it: its gateway was killed before, or lost a race for its request.
    """
    signs = volume.queued(record_id), volume.events(record_id)
    return any(sign.exists() for sign in signs) or bool(volume.all_facts(record_id))


def _restore(
    record_id: str, store: Store | Rebuild, volume: Volume, lease_seconds: float, *, is_left_out: bool = False
) -> bool:
    try:
        is_pending = volume.pending_tombstone(record_id).exists()  # before it may become final
        if volume.tombstone(record_id).exists() or is_gone(volume.home(record_id)):
            store.clear_left_out(record_id)
            return False
        if is_pending:
            why = "a gateway has yet to complete or revert its deletion"
            _leave_out(record_id, store, volume, why, is_left_out=is_left_out)
            return False
        command = _restoring(record_id, volume, lease_seconds, is_left_out=is_left_out)
    except (OSError, ValueError, KeyError, TypeError) as error:  # one damaged file costs no others
        why = f"a file of it cannot be read: {error}"
        _leave_out(record_id, store, volume, why, is_left_out=is_left_out)
        return False
    outcome = store.run(command)
    if outcome == "twin":
        logger.warning("%s: it was never queued, and its request has made another: removed", record_id)
        shutil.rmtree(volume.home(record_id), ignore_errors=True)
    return outcome == "restored"


def _leave_out(
    record_id: str, store: Store | Rebuild, volume: Volume, why: str, *, is_left_out: bool
) -> None:
    submission = _submission_if_readable(record_id, volume)
    if store.run(leave_out(record_id, submission, is_left_out=is_left_out)):
        logger.error("%s: not rebuilt, %s", record_id, why)


def _submission_if_readable(record_id: str, volume: Volume) -> Submission:
    with contextlib.suppress(OSError, ValueError):
        return read_submission(volume.submission(record_id))
    return PLAIN


def _restoring(
    record_id: str, volume: Volume, lease_seconds: float, *, is_left_out: bool
) -> Command[RestoreOutcome]:
    kind = kind_of(record_id)
    facts = read_facts(volume, record_id)
    fields = _submitted_fields(record_id, volume) | (_stated(facts) if facts else {})
    log = _read_log(fields, volume)
    fields |= _learnt_since(State(fields["state"]), log or b"", volume.intent(record_id))
    told = _told(record_id, volume) if kind is RecordKind.JOB else {}
    if own := told.get(Endpoint.OWN):
        fields["told"] = own.model_dump_json()
    checkpoints = facts.checkpoints if facts else ()
    return restore(
        kind,
        record_id,
        fields,
        checkpoints,
        lease_seconds,
        read_submission(volume.submission(record_id)),
        _untold(told, fields),
        unheard=_unheard(checkpoints, fields, log),
        was_queued=_was_queued(record_id, volume),
        is_left_out=is_left_out,
    )


def _submitted_fields(record_id: str, volume: Volume) -> dict[str, str]:
    """A record as it was submitted, before anybody claimed it."""
    path = volume.spec(record_id)
    spec = path.read_text()
    fields = {
        "id": record_id,
        "spec": spec,
        "devices": "1",
        "deaths": "0",
        "want": Want.RUN,
        "revision": str(_last_revision(record_id, volume) + UNMIRRORED_EVENTS),
        "created_us": str(path.stat().st_mtime_ns // 1000),
        "state": State.QUEUED,
        "token": "0",
        "attempt": "0",
    }
    if kind_of(record_id) is RecordKind.JOB:
        asked = json.loads(spec)
        fields |= {"uses": _dataset(asked), "devices": str(asked.get("devices", 1))}
    return fields


def _dataset(spec: Mapping[str, Any]) -> str:
    if not is_record_id(str(spec["dataset"])):
        raise ValueError("its spec names no dataset")
    return str(spec["dataset"])


def _stated(facts: Facts) -> dict[str, str]:
    fields = {
        "state": facts.state.value,
        "token": str(facts.token),
        "attempt": str(facts.attempt),
        "created_us": str(facts.created_us),
    }
    for name in ("started_ms", "finished_ms"):
        if (moment := getattr(facts, name)) is not None:
            fields[name] = str(moment)
    if facts.progress:
        fields["progress"] = facts.progress.model_copy(update={"seconds_left": None}).model_dump_json()
    if facts.checkpoints:
        fields["checkpoint"] = best_checkpoint(facts.checkpoints).model_dump_json()
    for name in ("evaluation", "snapshot", "error"):
        if (value := getattr(facts, name)) is not None:
            fields[name] = value.model_dump_json()
    if facts.environment is not None:
        fields["environment"] = json.dumps(facts.environment)
    return fields


class _Change(Kept):
    """What a `state` event says."""

    state: State
    want: Want = Want.RUN
    reason: str | None = None
    error: Failure | None = None


def _read_log(fields: Mapping[str, str], volume: Volume) -> bytes | None:
    """The events of a record whose facts are not final; None if they cannot be read."""
    if State(fields["state"]).is_terminal:
        return b""
    try:
        return volume.events(fields["id"]).read_bytes()
    except FileNotFoundError:
        return b""
    except OSError:
        return None


def _last_change(log: bytes) -> tuple[_Change, Event]:
    """The last `state` event that can be read; without one, as if it had been queued before all others.

    Not one of an earlier rebuild, which only repeats, in part and later, what the files said.
    """
    for line in reversed(log.splitlines()):
        if f'"type":"{EventType.STATE}"'.encode() in line:
            with contextlib.suppress(ValueError):
                event = Event.model_validate_json(line)
                change = _Change.model_validate_json(event.data)
                if change.reason != REBUILT:
                    return change, event
    return _Change(state=State.QUEUED), Event(id=0, type=EventType.STATE, at_ms=0, data="")


def _learnt_since(state: State, log: bytes, intent_path: Path) -> dict[str, str]:
    """What came after the facts: how it ended, or what was last wanted. Nothing comes after final facts."""
    if state.is_terminal:
        return {}
    change, event = _last_change(log)
    if change.state in (State.CANCELLED, State.FAILED):
        error = {"error": change.error.model_dump_json()} if change.error else {}
        return {"state": change.state, "finished_ms": str(event.at_ms), **error}
    want, at_ms = _last_wanted(change, event, intent_path)
    if state is State.RUNNING:
        return {"want": want, "owner": "unknown since Redis was emptied"}
    if want is Want.CANCEL:
        return {"state": State.CANCELLED, "finished_ms": str(at_ms)}
    return {"state": State.PAUSED if want is Want.PAUSE else State.QUEUED}


def _last_wanted(change: _Change, event: Event, intent_path: Path) -> tuple[Want, int]:
    """What was wanted last, and when: by the log or by the intent, whichever is newer.

    The volume may have refused the intent, and the log lacks the last events.
    """
    with contextlib.suppress(FileNotFoundError):
        intent = Intent.model_validate_json(intent_path.read_bytes())
        if intent.revision >= event.id:
            return intent.want, intent_path.stat().st_mtime_ns // 1_000_000
    return Want.PAUSE if change.state is State.PAUSED else change.want, event.at_ms


def _told(job_id: str, volume: Volume) -> dict[Endpoint, Notification | None]:
    """What each endpoint was told of how it ended."""
    return {endpoint: read_told(volume.told(job_id, endpoint)) for endpoint in Endpoint}


def _untold(told: Mapping[Endpoint, Notification | None], fields: Mapping[str, str]) -> list[Endpoint]:
    """The endpoints that still have to be told how it ended.

    The deployment's only if it ended recently: a deployment without a webhook never notes that it was told.
    """
    if not State(fields["state"]).is_terminal:
        return []
    untold = [endpoint for endpoint, notification in told.items() if notification is None]
    age_seconds = time.time() - int(fields.get("finished_ms", 0)) / 1000
    return untold if age_seconds <= TOLD_FOR_SECONDS else [one for one in untold if one is Endpoint.OWN]


def _unheard(
    checkpoints: Iterable[CheckpointFact], fields: Mapping[str, str], log: bytes | None
) -> list[CheckpointFact]:
    """Checkpoints missing from an unfinished record's log; a finished record has no watchers."""
    if log is None or State(fields["state"]).is_terminal:
        return []
    return [checkpoint for checkpoint in checkpoints if checkpoint.digest.encode() not in log]


def _last_revision(record_id: str, volume: Volume) -> int:
    """The last event id; the time in ms if the log is unreadable, since no record has had so many events."""
    try:
        with volume.events(record_id).open("rb") as file:
            return last_event(file).id
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        logger.error("%s: its events are numbered from the clock on: %s", record_id, error)
        return round(time.time() * 1000)
