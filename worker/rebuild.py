"""Re-creates the records from the volume when Redis comes up empty. Running jobs keep their owners."""

import contextlib
import json
import logging
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from contract import rebuilding
from contract.durable import write_durably
from contract.identifiers import is_record_id, kind_of
from contract.job import CheckpointFact, State, Want, best_checkpoint
from contract.keys import RecordKind
from contract.rebuilding import OvertakenError, RestoreOutcome
from contract.submission import PLAIN, Submission, read_submission
from contract.volume import Volume, entries, is_gone
from contract.webhook import TOLD_FOR_SECONDS, Endpoint, read_told
from worker.facts import Facts, read_facts
from worker.mirror import last_event
from worker.rare_warning import RareWarning
from worker.rebuild_models import restore_left_out_models, restore_models
from worker.store import Rebuild, Store

logger = logging.getLogger(__name__)
_rarely = RareWarning(logger)

LOCK_SECONDS = 60
"""Limit from one record to the next, and for sorting them first. A dead rebuilder is replaced after it."""

UNMIRRORED_EVENTS = 1000
"""More than can have happened since the last mirroring, so that no event id is used twice. Leaves a gap."""


def rebuild_if_lost(store: Store, volume: Volume, name: str, lease_seconds: float) -> bool:
    """Rebuild the records if Redis is empty or outdated; whether they stand now. One process does the work.

    If Redis is emptied again before the end, the next call starts over.
    """
    of_volume = rebuilding.read_epoch(volume)
    if store.is_rebuilt() and not (store.is_outdated(of_volume) and _may_remove_outdated(store, volume)):
        return True
    rebuild = store.lock_rebuild(name, LOCK_SECONDS)
    if rebuild is None:
        return False
    epoch = uuid.uuid4().hex
    try:
        found = rebuild.run(rebuilding.begin_rebuild(of_volume, epoch))
        if found == "stands":  # another process has just rebuilt them
            return True
        store.has_removed_outdated |= found == "outdated"
        _begin_epoch(volume, epoch)
        count = _restore_all(rebuild, volume, lease_seconds)
        rebuild.run(rebuilding.end_rebuild(epoch))
    except OvertakenError:
        logger.warning("Redis was emptied again, or another rebuilds: not rebuilt from %s yet", volume.root)
        return False
    if count:
        state = "empty" if found == "emptied" else "older than the volume"
        logger.warning("Redis was %s: rebuilt %d records from %s", state, count, volume.root)
    return True


def _may_remove_outdated(store: Store, volume: Volume) -> bool:
    """Only once: two servers in use for one volume would make each other outdated for ever."""
    if store.has_removed_outdated:
        _rarely.log(
            "%s: its records were rebuilt on another Redis again; if two are in use, stop the workers of the"
            " wrong one, then restart this one",
            volume.root,
        )
    return not store.has_removed_outdated


def _begin_epoch(volume: Volume, epoch: str) -> None:
    """From now on, a Redis that does not know this epoch is outdated. A full volume prevents no rebuild."""
    try:
        write_durably(volume.epoch, epoch.encode())
    except OSError as error:
        logger.warning("%s: an older Redis will not be noticed: %s", volume.epoch, error)


def _restore_all(store: Rebuild, volume: Volume, lease_seconds: float) -> int:
    count = 0
    for kind, root in ((RecordKind.DATASET, volume.datasets), (RecordKind.JOB, volume.jobs)):
        for record_id in _surest_first(_submitted(root), volume):
            count += _restore_if_readable(kind, record_id, store, volume, lease_seconds)
    restore_models(store, volume)
    return count


def _submitted(root: Path) -> Iterator[str]:
    """The ids of records; not the names of copies that other programs have put beside them."""
    for home in filter(_has_spec, entries(root)):
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


def restore_left_out(store: Store, volume: Volume, lease_seconds: float) -> None:
    """Retry what could not be read: a live owner writes its facts anew, and people repair files."""
    left_out = list(filter(is_record_id, store.left_out()))
    for kind in (RecordKind.DATASET, RecordKind.JOB):
        for record_id in _surest_first((one for one in left_out if kind_of(one) is kind), volume):
            if _restore_if_readable(kind, record_id, store, volume, lease_seconds):
                logger.warning("%s: it can be read again, and is back", record_id)
    restore_left_out_models(store, volume)


def _surest_first(record_ids: Iterable[str], volume: Volume) -> list[str]:
    """Sort by queued first, then youngest first: of two records of one request, the first is kept."""

    def doubt(record_id: str) -> tuple[bool, int]:
        with contextlib.suppress(OSError):
            return not _was_queued(record_id, volume), -volume.spec(record_id).stat().st_mtime_ns
        return True, 0

    return sorted(record_ids, key=doubt)


def _was_queued(record_id: str, volume: Volume) -> bool:
    """Whether it was ever queued.

    If not, no client knows it: its gateway was killed before, or lost a race for its request.
    """
    signs = volume.queued(record_id), volume.events(record_id)
    return any(sign.exists() for sign in signs) or bool(volume.all_facts(record_id))


def _restore_if_readable(
    kind: RecordKind, record_id: str, store: Store | Rebuild, volume: Volume, lease_seconds: float
) -> bool:
    try:
        outcome = _restore(kind, record_id, store, volume, lease_seconds)
    except (OSError, ValueError, KeyError, TypeError) as error:  # one damaged file costs no others
        if store.run(rebuilding.leave_out(record_id, _submission_if_readable(record_id, volume))):
            logger.error("%s: not rebuilt, a file of it cannot be read: %s", record_id, error)
        return False
    if outcome == "twin":
        logger.warning("%s: it was never queued, and its request has made another: removed", record_id)
        shutil.rmtree(volume.home(record_id), ignore_errors=True)
    store.take_in(record_id)
    return outcome == "restored"


def _submission_if_readable(record_id: str, volume: Volume) -> Submission:
    with contextlib.suppress(OSError, ValueError):
        return read_submission(volume.submission(record_id))
    return PLAIN


def _restore(
    kind: RecordKind, record_id: str, store: Store | Rebuild, volume: Volume, lease_seconds: float
) -> RestoreOutcome | Literal["gone"]:
    if volume.tombstone(record_id).exists() or is_gone(volume.home(record_id)):
        return "gone"
    spec = volume.spec(record_id).read_text()
    facts = read_facts(volume, record_id)
    fields = {
        "id": record_id,
        "spec": spec,
        "devices": "1",
        "deaths": "0",
        "want": Want.RUN,
        "revision": str(_last_revision(record_id, volume) + UNMIRRORED_EVENTS),
        "created_us": str(volume.spec(record_id).stat().st_mtime_ns // 1000),
        "state": State.QUEUED,
        "token": "0",
        "attempt": "0",
    }
    if kind is RecordKind.JOB:
        asked = json.loads(spec)
        fields |= {"uses": asked["dataset"], "devices": str(asked.get("devices", 1))}
    if facts is not None:
        fields |= _stated(facts)
    _heed_intent(fields, volume.intent(record_id))
    checkpoints = facts.checkpoints if facts else ()
    submission = read_submission(volume.submission(record_id))
    untold = _heed_telling(fields, record_id, volume) if kind is RecordKind.JOB else ()
    return store.run(
        rebuilding.restore(
            kind,
            record_id,
            fields,
            checkpoints,
            lease_seconds,
            submission,
            untold,
            unheard=_unheard(checkpoints, fields, volume),
            was_queued=_was_queued(record_id, volume),
        )
    )


def _stated(facts: Facts) -> dict[str, str]:
    fields = {
        "state": facts.state.value,
        "token": str(facts.token),
        "attempt": str(facts.attempt),
        "created_us": str(facts.created_us),
    }
    if facts.state is State.RUNNING:
        fields["owner"] = "unknown since Redis was emptied"
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
    for name in ("environment", "result"):
        if (value := getattr(facts, name)) is not None:
            fields[name] = json.dumps(value)
    return fields


def _heed_intent(fields: dict[str, str], path: Path) -> None:
    """Apply what the gateway last wanted, unless the owner had already made it a fact."""
    with contextlib.suppress(FileNotFoundError):
        want = Want(json.loads(path.read_text())["want"])
        if fields["state"] == State.RUNNING:
            fields["want"] = want
        elif want is Want.CANCEL and not State(fields["state"]).is_terminal:
            fields["state"] = State.CANCELLED
            fields["finished_ms"] = str(path.stat().st_mtime_ns // 1_000_000)
        elif fields["state"] in (State.QUEUED, State.PAUSED):
            fields["state"] = State.PAUSED if want is Want.PAUSE else State.QUEUED


def _heed_telling(fields: dict[str, str], job_id: str, volume: Volume) -> list[Endpoint]:
    """Restore which endpoints were told how it ended; return those that still have to be.

    The deployment's only if it ended recently: a deployment without a webhook never notes that it was told.
    """
    told = {endpoint: read_told(volume.told(job_id, endpoint)) for endpoint in Endpoint}
    if own := told[Endpoint.OWN]:
        fields["told"] = own.model_dump_json()
    if not State(fields["state"]).is_terminal:
        return []
    untold = [endpoint for endpoint in Endpoint if told[endpoint] is None]
    age_seconds = time.time() - int(fields.get("finished_ms", 0)) / 1000
    return untold if age_seconds <= TOLD_FOR_SECONDS else [one for one in untold if one is Endpoint.OWN]


def _unheard(
    checkpoints: Iterable[CheckpointFact], fields: Mapping[str, str], volume: Volume
) -> list[CheckpointFact]:
    """Checkpoints missing from an unfinished record's log; a finished record has no watchers."""
    if State(fields["state"]).is_terminal:
        return []
    try:
        log = volume.events(fields["id"]).read_bytes()
    except FileNotFoundError:
        log = b""
    except OSError:
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
