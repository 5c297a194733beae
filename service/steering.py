"""Cancels, pauses and resumes jobs: writes the intent to the volume, for rebuilds, then to the record.

A volume that accepts no files must not prevent a job from being cancelled: the intent then goes to the record
alone, and to the volume as soon as it accepts files again. If the reply of Redis is lost, the intent on the
volume is reverted at once, and follows the record as soon as Redis answers.
"""

import asyncio
import contextlib
import errno
import logging
from pathlib import Path

from redis.exceptions import RedisError

from contract.control import Steered, control
from contract.durable import LACKS, remove_durably, replace_durably, write_json
from contract.errors import ErrorCode, ServiceError
from contract.job import Intent, Record, State, Want
from contract.keys import RecordKind
from service import records
from service.gateway import Gateway
from service.job_views import Job

logger = logging.getLogger(__name__)

_VERB = {Want.RUN: "resumed", Want.PAUSE: "paused", Want.CANCEL: "cancelled"}


async def steer(gateway: Gateway, job_id: str, want: Want) -> Job:
    """Set what is wanted of a job, and return the updated job.

    Raises:
        ServiceError: `job_state_conflict`; the refused intent has been reverted.
    """
    async with gateway.lock(job_id):
        standing = await records.find(gateway, RecordKind.JOB, job_id)
        intent = Intent(want=want, revision=standing.record.revision)
        try:
            outcome, state = await _control(gateway, job_id, intent)
            has_agreed = await _agree(gateway, job_id, is_new=outcome == "accepted")
        except (RedisError, OSError, asyncio.CancelledError):  # Redis may have done it, and lost the reply
            _settle(gateway, job_id)
            raise
        if not has_agreed:
            logger.warning("%s: the volume does not take what is wanted; Redis alone has it", job_id)
            _settle(gateway, job_id)
    if outcome == "conflict":
        raise _conflict(job_id, want, state)
    return await records.show(gateway, RecordKind.JOB, job_id, Job.of)


async def _control(gateway: Gateway, job_id: str, intent: Intent) -> Steered:
    """Write the intent, then run the script; revert the intent unless the script has accepted it."""
    path = gateway.volume.intent(job_id)
    async with contextlib.AsyncExitStack() as undo:
        try:
            before = await gateway.on_volume(_exchange, path, intent)
        except OSError as error:
            _require_excuse(error)  # then the record alone has it
        else:
            undo.push_async_callback(_revert, gateway, path, before)
        command = control(RecordKind.JOB, job_id, intent.want, "asked by a client")
        steered = await gateway.store.run(command)
        if steered.outcome == "accepted":
            undo.pop_all()
    return steered


async def _revert(gateway: Gateway, path: Path, before: bytes | None) -> None:
    """Put back the intent that was there before, so that no rebuild applies a refused one."""
    with contextlib.suppress(OSError):  # it then follows the record later
        await gateway.on_volume(_put_back, path, before)


def _exchange(path: Path, intent: Intent) -> bytes | None:
    """Write the intent, and return what was there before."""
    before = path.read_bytes() if path.exists() else None
    write_json(path, intent.model_dump())
    return before


def _require_excuse(error: OSError) -> None:
    """Raise the error, unless the volume accepts no files at present, or the job was deleted meanwhile."""
    if error.errno not in (*LACKS, errno.ENOENT):
        raise error


def _settle(gateway: Gateway, job_id: str) -> None:
    """Write the record's intent, as it is by then, once Redis answers and the volume accepts it."""

    async def attempt() -> bool:
        async with gateway.lock(job_id):
            return await _agree(gateway, job_id, is_new=True)

    gateway.background.settle(f"what is wanted of {job_id}", attempt)


async def _agree(gateway: Gateway, job_id: str, *, is_new: bool) -> bool:
    """Copy the record's intent to the volume, even if another gateway set it. Returns whether they agree.

    If it `is_new`, an older one must not pass for it, even if it wants the same: to a rebuild, what happened
    in between would be newer.
    """
    path = gateway.volume.intent(job_id)
    try:
        while standing := await gateway.store.find(RecordKind.JOB, job_id):
            wanted = Intent(want=_wanted(standing.record), revision=standing.record.revision)
            least = wanted.revision - 1 if is_new else 0  # its own event may be the last one
            if await gateway.on_volume(_is_stated, path, wanted.want, least):
                break
            await gateway.on_volume(write_json, path, wanted.model_dump())
            is_new = False  # written once, it is new enough, whatever has happened by now
    except OSError as error:
        _require_excuse(error)
        return error.errno not in LACKS
    return True


def _is_stated(path: Path, want: Want, least: int) -> bool:
    """Whether the volume has this intent, of this revision at least; without a file, the one to run, of 0."""
    try:
        intent = Intent.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        intent = Intent(want=Want.RUN)
    except ValueError:
        return False
    return intent.want is want and intent.revision >= least


def _wanted(record: Record) -> Want:
    """The intent that would lead to a record's current state."""
    return {State.CANCELLED: Want.CANCEL, State.PAUSED: Want.PAUSE}.get(record.state, record.want)


def _put_back(path: Path, content: bytes | None) -> None:
    with contextlib.suppress(FileNotFoundError):  # the job was deleted meanwhile
        if content is None:
            remove_durably(path)
        else:
            replace_durably(path, content)


def _conflict(job_id: str, want: Want, state: str) -> ServiceError:
    if state == "cancelling":
        possible = "wait until it is cancelled; POST /jobs to train again"
    else:
        possible = "that is final; POST /jobs to train again, or DELETE it"
    detail = f"{job_id} is {state} and cannot be {_VERB[want]}: {possible}."
    return ServiceError(ErrorCode.JOB_STATE_CONFLICT, detail)
