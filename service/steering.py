"""Cancel, pause, resume: the intent goes to the volume, where a rebuild finds it, then to the record."""

import asyncio
from pathlib import Path

from contract.errors import ErrorCode, ServiceError
from contract.job import Want
from contract.keys import RecordKind
from contract.store import control
from contract.volume import write_durably, write_json
from service import records
from service.gateway import Gateway
from service.views import Job

_VERB = {Want.RUN: "resumed", Want.PAUSE: "paused", Want.CANCEL: "cancelled"}


async def steer(gateway: Gateway, job_id: str, want: Want) -> Job:
    """Let a job do what is wanted; the job as it then stands.

    Raises:
        ServiceError: `job_state_conflict`; the refused intent has been taken back.
    """
    path = gateway.volume.intent(job_id)
    async with gateway.lock(job_id):
        await records.find(gateway, RecordKind.JOB, job_id)
        before = await asyncio.to_thread(_read, path)
        await asyncio.to_thread(write_json, path, {"want": want})
        outcome = None
        try:
            command = control(RecordKind.JOB, job_id, want, "asked by a client")
            outcome, state = await gateway.store.run(command)
        finally:
            if outcome != "accepted":  # not even answered: then it may not take effect at a rebuild either
                await asyncio.to_thread(_put_back, path, before)
    if outcome == "conflict":
        raise _conflict(job_id, want, state)
    return Job.of(await records.find(gateway, RecordKind.JOB, job_id))


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _put_back(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        write_durably(path, content)


def _conflict(job_id: str, want: Want, state: str) -> ServiceError:
    if state == "cancelling":
        possible = "wait until it is cancelled; POST /jobs to train anew"
    else:
        possible = "that is final; POST /jobs to train anew, or DELETE it"
    detail = f"{job_id} is {state} and cannot be {_VERB[want]}: {possible}."
    return ServiceError(ErrorCode.JOB_STATE_CONFLICT, detail)
