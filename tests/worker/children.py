"""Where the tests' child processes come from, and how they are heard."""

from collections import deque
from collections.abc import Callable
from multiprocessing import context

from contract.keys import Role
from tests.worker import small_work
from worker import link
from worker.child import Child, forkserver
from worker.roles import TRADES


def warm_server() -> context.ForkServerContext:
    """The forkserver of this process, with all that any child needs.

    A process has only one, which imports what its first user lists. With less, children would import torch.
    """
    return forkserver([*TRADES[Role.TRAIN].preload, small_work.__name__])


def one_at_a_time(
    messages: Callable[[Child, float], list[link.Message]],
) -> Callable[..., list[link.Message]]:
    """Hear each message before the next, even if all have arrived while nobody listened."""
    waiting: deque[link.Message] = deque()

    def next_message(child: Child, timeout_seconds: float) -> list[link.Message]:
        waiting.extend(messages(child, 0 if waiting else timeout_seconds))
        return [waiting.popleft()] if waiting else []

    return next_message
