"""Where the tests' child processes come from."""

from multiprocessing import context

from contract.keys import Role
from tests.worker import small_work
from worker.child import forkserver
from worker.roles import TRADES


def warm_server() -> context.ForkServerContext:
    """The forkserver of this process, with all that any child needs.

    A process has only one, which imports what its first user lists. With less, children would import torch.
    """
    return forkserver([*TRADES[Role.TRAIN].preload, small_work.__name__])
