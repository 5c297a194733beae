"""Records what each process of a stack under test does to its jobs.

Each process appends a line for each act to its own file. Times are CLOCK_MONOTONIC, which all processes of a
machine share, so the acts of different processes can be ordered.
"""

import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from tests.system.inside.wrapping import surround

DIRECTORY = "DCGAN_TEST_WITNESSES"
"""The environment variable that names the folder of these files."""

MODULES = frozenset({"worker.store", "worker.facts", "worker.training", "models.trainer"})


Kind = Literal["claimed", "accepted", "stated", "trained"]


@dataclass(frozen=True)
class Act:
    """Something that one process did to a job under one token."""

    kind: Kind
    """Claimed it from Redis; had a command accepted there; wrote facts to the volume; trained on a batch."""
    job: str
    token: int
    began: float
    ended: float
    command: str = ""
    images_seen: int = 0
    """Images that the job has seen, as far as this process knows."""
    images: int = 0
    """Images in the batch that was trained on."""

    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"


def acts(directory: Path) -> Iterator[Act]:
    """All acts, in no particular order. A line torn by the death of its process is skipped."""
    for path in directory.iterdir():
        yield from acts_of(path)


def acts_of(path: Path) -> list[Act]:
    """The acts of one process, in order."""
    whole, _, _ = path.read_text().rpartition("\n")
    return [Act(**json.loads(line)) for line in whole.splitlines()]


def wrap(module: ModuleType) -> None:
    """Record calls of this module's functions as acts, if there is a soak."""
    if DIRECTORY not in os.environ:
        return
    match module.__name__:
        case "worker.store":
            surround(module, "Store.run", _run)
        case "worker.facts":
            surround(module, "write_facts", _write_facts)
        case "worker.training":
            surround(module, "_Run.carry_out", _carry_out)
        case "models.trainer":
            surround(module, "train", _train)


def _run(original: Callable[..., Any], store: object, command: Any) -> Any:
    began = time.monotonic()
    answer = original(store, command)
    name, given = command.arguments[1], json.loads(command.arguments[2])
    if name == "claim" and answer is not None and answer.record.id.startswith("job_"):
        _note("claimed", answer.record.id, answer.token, began)
    elif "token" in given and given["id"].startswith("job_") and answer not in ("lost", "unknown"):
        progress = json.loads(given.get("progress") or given.get("fields", {}).get("progress") or "{}")
        act = f"{name} {given.get('state', '')}".strip()
        _note("accepted", given["id"], given["token"], began, act, progress.get("done", 0))
    return answer


def _write_facts(original: Callable[..., bool], volume: object, record_id: str, facts: Any) -> bool:
    began = time.monotonic()
    stated = original(volume, record_id, facts)
    if stated and record_id.startswith("job_"):
        _note("stated", record_id, facts.token, began)
    return stated


_order: Any = None
"""The order that this process, a training child, works on."""


def _carry_out(original: Callable[..., None], run: Any) -> None:
    global _order
    _order = run._order
    original(run)


def _train(original: Callable[..., Iterator[Any]], state: Any, *given: object) -> Iterator[Any]:
    began, before = time.monotonic(), state.images_seen
    for progress in original(state, *given):
        after = progress.images_seen
        if _order is not None:
            _note("trained", _order.job, _order.token, began, images_seen=after, images=after - before)
        yield progress
        began, before = time.monotonic(), after


def _note(
    kind: Kind,
    job: str,
    token: str | int,
    began: float,
    command: str = "",
    images_seen: int = 0,
    images: int = 0,
) -> None:
    act = Act(kind, job, int(token), began, time.monotonic(), command, images_seen, images)
    os.write(_file(os.getpid()), act.line().encode())


@functools.cache
def _file(process: int) -> int:
    """The file of this process, not of the one that it was forked from."""
    path = Path(os.environ[DIRECTORY]) / str(process)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
