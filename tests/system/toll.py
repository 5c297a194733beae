"""The toll of a soak: what was lost, doubled, unequal or left over, and how fast each job recovered."""

import contextlib
import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from contract.job import TRANSITIONS, State, best_checkpoint
from contract.rebuilding import REBUILT
from tests.system.faults import KINDS, persist
from tests.system.findings import Findings, Training
from tests.system.patient import Patient
from tests.system.stack import PATIENCE_SECONDS, until
from worker.facts import read_facts

MOST_JOBS = 200
"""The size of a page of the job list; a soak has no more jobs."""


@dataclass(frozen=True)
class Struck:
    """A fault that was inflicted: when (CLOCK_MONOTONIC), and which jobs it stopped."""

    kind: str
    at: float
    jobs: list[str]


@dataclass
class Toll:
    """What happened in a soak, and what was found afterwards; each finding is a sentence."""

    seed: int
    undisturbed: dict[str, str] = field(default_factory=dict)
    """The undisturbed job of each spec."""
    specs: dict[str, str] = field(default_factory=dict)
    """The spec of each job that the service accepted."""
    struck: list[Struck] = field(default_factory=list)
    began: float = 0.0
    ended: float = 0.0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unequal: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    recoveries: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By kind of fault, the seconds until each job that it stopped was further than before."""
    training: Training = field(default_factory=Training)

    @property
    def findings(self) -> list[str]:
        return [*self.lost, *self.doubled, *self.unequal, *self.left_over]


def examine(toll: Toll, patient: Patient, datasets: Sequence[str]) -> None:
    """Fill in the findings. The faults are over, so the service must become ready."""
    until(lambda: patient.get("/readyz"), "a service that is whole again", PATIENCE_SECONDS)
    wanted = {spec: _weights(patient, job) for spec, job in toll.undisturbed.items()}
    for dataset in datasets:
        _await_ready(patient, dataset)
    listed = _final_jobs(patient)
    toll.lost += [f"{one['id']} is {one['state']}" for one in listed if one["state"] != "succeeded"]
    toll.lost += [f"{job} is gone" for job in toll.specs.keys() - {one["id"] for one in listed}]
    succeeded = [one["id"] for one in listed if one["state"] == "succeeded" and one["id"] in toll.specs]
    toll.unequal += [job for job in succeeded if _weights(patient, job) != wanted[toll.specs[job]]]
    for job in succeeded:
        toll.left_over += [f"{job}: {flaw}" for flaw in _flaws(patient, job)]
    findings = Findings(patient.witnesses)
    toll.training = findings.training(toll.specs)
    for job in toll.specs:
        toll.doubled += findings.doubled(job)
    for struck in toll.struck:
        for job in struck.jobs:
            seconds = findings.recovery_seconds(job, struck.at)
            if seconds is not None:
                toll.recoveries[struck.kind].append(seconds)


def _await_ready(patient: Patient, dataset: str) -> None:
    def is_ready() -> bool:
        return bool(patient.get(f"/datasets/{dataset}")["state"] == "ready")

    until(is_ready, f"{dataset}, to be ready", PATIENCE_SECONDS)


def _final_jobs(patient: Patient) -> list[Any]:
    """All jobs that the service knows, once they are over, even those whose submission got no response."""

    def jobs() -> list[Any]:
        return list(patient.get(f"/jobs?limit={MOST_JOBS}")["items"])

    with contextlib.suppress(AssertionError):  # jobs that are not over count as lost
        until(lambda: all(State(job["state"]).is_terminal for job in jobs()), "the end", PATIENCE_SECONDS)
    return persist(jobs)


def _weights(patient: Patient, job: str) -> str:
    """A digest of the last checkpoint in the facts, without its header, which names the job."""
    facts = read_facts(patient.volume, job)
    assert facts is not None
    last = max(facts.checkpoints, key=lambda checkpoint: checkpoint.images_seen)
    content = patient.volume.checkpoint(job, last.file).read_bytes()
    return hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()


def _flaws(patient: Patient, job: str) -> Iterator[str]:
    """Yield what is wrong with a job that succeeded: its events, files and samples."""
    yield from _flaws_of_events(persist(lambda: patient.events(job)))
    facts, told = read_facts(patient.volume, job), persist(lambda: patient.job(job))
    assert facts is not None
    listed = [(one["images_seen"], one["digest"]) for one in told["checkpoints"]]
    if sorted(listed) != sorted((one.images_seen, one.digest) for one in facts.checkpoints):
        yield "Redis and the volume list different checkpoints"
    if len({images_seen for images_seen, _ in listed}) < len(listed):
        yield "a checkpoint is listed twice"
    for one in facts.checkpoints:
        content = patient.volume.checkpoint(job, one.file).read_bytes()
        if one.digest != f"sha256:{hashlib.sha256(content).hexdigest()}":
            yield f"the checkpoint {one.file} is not what its digest names"
    if told["checkpoint"]["digest"] != best_checkpoint(facts.checkpoints).digest:
        yield "not its best checkpoint is served"
    if not _comes_true(lambda: not _torn_files(patient, job)):  # a trainer that was stopped may still tidy up
        yield f"left behind: {', '.join(_torn_files(patient, job))}"
    if not _comes_true(lambda: patient.http.get(f"/samples?model={job}&seed=7").status_code == 200):
        yield "no sample of it is served"


def _comes_true(condition: Callable[[], bool]) -> bool:
    try:
        return until(condition, "what a service that is whole again does", PATIENCE_SECONDS)
    except AssertionError:
        return False


def _torn_files(patient: Patient, job: str) -> list[str]:
    return [path.name for path in patient.volume.job(job).rglob("*.tmp")]


def _flaws_of_events(events: Sequence[Any]) -> Iterator[str]:
    """Check that ids rise by one and that transitions are allowed, except where the record was rebuilt."""
    state, last = None, 0
    for event in events:
        is_rebuilt = event["data"].get("reason") == REBUILT
        if event["id"] <= last or (event["id"] > last + 1 and not is_rebuilt):
            yield f"event {event['id']} follows {last}"
        last = event["id"]
        if event["type"] == "state" and (is_rebuilt or "want" not in event["data"]):
            reached = State(event["data"]["state"])
            if state is not None and not is_rebuilt and reached not in TRANSITIONS[state]:
                yield f"{reached} follows {state}"
            state = reached
    if state is not State.SUCCEEDED:
        yield f"its last event says {state}"


def table(toll: Toll) -> str:
    """The toll as a table for people."""
    return "\n".join(_rows(toll))


def _rows(toll: Toll) -> Iterator[str]:
    kinds, training = Counter(struck.kind for struck in toll.struck), toll.training
    yield f"seed {toll.seed}: {len(toll.struck)} faults in {toll.ended - toll.began:.0f} s"
    yield ""
    yield f"{'fault':32} {'times':>5} {'jobs stopped':>12} {'back after p50':>14} {'p99':>7}"
    for kind in (kind for kind in KINDS if kind in kinds):
        yield _row(kind, kinds[kind], toll.recoveries.get(kind, []))
    yield _row("all", len(toll.struck), [seconds for some in toll.recoveries.values() for seconds in some])
    yield ""
    yield f"{'jobs':12} {len(toll.specs)}"
    for name in ("lost", "doubled", "unequal", "left_over"):
        yield f"{name.replace('_', ' '):12} {len(getattr(toll, name))}"
    yield (
        f"{'trained':12} {training.images:,} images in {training.seconds:,.0f} s, of these again"
        f" {training.images_again:,} ({training.images_again / max(1, training.images):.1%})"
        f" in {training.seconds_again:,.0f} s"
    )
    yield from toll.findings


def _row(kind: str, times: int, recoveries: list[float]) -> str:
    row = f"{kind:32} {times:5} {len(recoveries):12}"
    if not recoveries:
        return row
    return f"{row} {_percentile(recoveries, 0.5):12.1f} s {_percentile(recoveries, 0.99):5.1f} s"


def _percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
