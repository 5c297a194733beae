"""The Celery tasks. A message carries nothing: it is a doorbell, and the duty knows what to do."""

from celery import Celery

from contract.keys import TASK_OF_ROLE, Role
from worker.roles import Duty


def register(app: Celery, role: Role, duty: Duty) -> None:
    """Register the role's task, its bell; a role without one takes no messages."""
    if role not in TASK_OF_ROLE:
        return

    @app.task(name=TASK_OF_ROLE[role])
    def answer_bell() -> None:
        duty.answer_bell()
