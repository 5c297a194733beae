"""Crash points: instants in a job's life at which its process kills or stops itself, if a test requests it.

A test arms a point with a file. The first process to reach the point renames the file and signals itself, so
this happens once, whatever is restarted meanwhile. A point that is not armed costs one check for that file.
"""

import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from tests.system.inside.wrapping import surround

DIRECTORY = "DCGAN_TEST_CRASHES"
"""The environment variable that names the folder of the armed points."""


@dataclass(frozen=True)
class Point:
    """Just before or just after a function of the service is called."""

    side: Literal["before", "after"]
    module: str
    function: str
    counts: Callable[..., bool] = lambda *_, **__: True
    """Whether a call with these arguments counts."""
    spoil: Callable[..., object] = lambda *_, **__: None
    """Creates what a death in the middle of the function would leave behind."""


def _states(what: str) -> Callable[..., bool]:
    def counts(*_: object, **given: Any) -> bool:
        return what in (given.get("fields") or {})

    return counts


def _tells_checkpoint(*_: object, checkpoint: object = None, **__: object) -> bool:
    return checkpoint is not None


def _leaves(_: object, command: Any) -> bool:
    return bool(command.arguments[1] == "leave")


def _finishes(_: object, message: Any) -> bool:
    return bool(message.kind == "finished")


def _goes_to(folder: str) -> Callable[[Path, Path], bool]:
    return lambda _, path: path.parent.name == folder


def _is_facts(_: Path, path: Path) -> bool:
    return path.name.startswith("facts-")


def _tear(temporary: Path, _: Path) -> None:
    os.truncate(temporary, temporary.stat().st_size // 2)


_torn = functools.partial(Point, "before", "contract.durable", "publish_durably", spoil=_tear)
_reports = functools.partial(Point, module="worker.outbox", function="Outbox.report")

POINTS = {
    # the supervisor claims
    "after claim, before facts": Point("before", "worker.account", "Account.take_over"),
    "in the write of facts": _torn(_is_facts),
    "after facts, before the child begins": Point("before", "worker.child", "Child.begin"),
    # a snapshot is saved by the child, then reported by the supervisor
    "in the write of a snapshot": _torn(_goes_to("resume")),
    "after snapshot, before told": Point("after", "models.checkpoint", "save_snapshot"),
    "snapshot told, before facts": Point("before", "worker.account", "Account._saved"),
    "snapshot in facts, before Redis": _reports("before", counts=_states("snapshot")),
    "snapshot in Redis, old ones still there": Point("before", "worker.leftovers", "drop_superseded"),
    # a checkpoint
    "in the write of a checkpoint": _torn(_goes_to("checkpoints")),
    "after checkpoint, before told": Point("after", "models.checkpoint", "save_checkpoint"),
    "checkpoint told, before facts": Point("before", "worker.account", "Account._published"),
    "checkpoint in facts, before Redis": _reports("before", counts=_tells_checkpoint),
    "checkpoint in Redis": _reports("after", counts=_tells_checkpoint),
    # a preview, and an evaluation
    "in the write of a preview": _torn(_goes_to("previews")),
    "judgement in Redis, before facts": _reports("after", counts=_states("evaluation")),
    # the end
    "before the child's last word": Point("before", "worker.child", "Chore.tell", _finishes),
    "after the child's last word": Point("after", "worker.child", "Chore.tell", _finishes),
    "before leave": Point("before", "worker.outbox", "Outbox.insist", _leaves),
    "after leave, before the next claim": Point("after", "worker.outbox", "Outbox.insist", _leaves),
}
MODULES = frozenset(point.module for point in POINTS.values())


def arm(directory: Path, point: str, number: signal.Signals, *, reached: int = 1) -> None:
    """Make the process that reaches `point` for the `reached`-th time send itself a signal."""
    (directory / point).write_text(f"{number.value} {reached}")


def struck(directory: Path, point: str) -> int:
    """The id of the process that signalled itself at `point`, or 0 if none has yet."""
    return next((int(path.suffix[1:]) for path in directory.glob(f"{point}.*")), 0)


def wrap(module: ModuleType) -> None:
    """Wrap the functions of this module that have points, if a test may arm them."""
    if DIRECTORY not in os.environ:
        return
    for name, point in _points_in(module.__name__):
        surround(module, point.function, functools.partial(_pass, Path(os.environ[DIRECTORY]) / name, point))


def _points_in(module: str) -> Iterator[tuple[str, Point]]:
    return ((name, point) for name, point in POINTS.items() if point.module == module)


def _pass(armed: Path, point: Point, original: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Call the original, and reach the point before or after it."""
    counts = armed.exists() and point.counts(*given, **named)
    if counts and point.side == "before":
        _reach(armed, functools.partial(point.spoil, *given, **named))
    answer = original(*given, **named)
    if counts and point.side == "after":
        _reach(armed, functools.partial(point.spoil, *given, **named))
    return answer


def _reach(armed: Path, spoil: Callable[[], object]) -> None:
    try:
        number, still = map(int, armed.read_text().split())
        if still > 1:
            armed.write_text(f"{number} {still - 1}")
            return
        armed.rename(armed.with_name(f"{armed.name}.{os.getpid()}"))
    except FileNotFoundError:
        return  # another process was faster
    spoil()
    # To this thread: another one may take a signal to the process, and this one would briefly continue.
    signal.pthread_kill(threading.get_ident(), number)
