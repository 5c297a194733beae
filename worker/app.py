"""The Celery app of one worker, with boot steps that start and stop its duty and its reconciler."""

from collections.abc import Callable
from typing import Any

import kombu
from celery import Celery, bootsteps
from celery.exceptions import OperationalError
from celery.signals import worker_shutting_down

from contract.keys import CELERY_PREFIX, ROLE_OF_KIND, TASK_OF_ROLE, RecordKind, Role
from worker.process import WorkerProcess
from worker.reconciler import Reconciler
from worker.roles import duty as duty_of
from worker.settings import Settings
from worker.tasks import register


def create_app(role: Role, name: str, settings: Settings) -> Celery:
    """Create the app of a worker of this role, ready to start. Opens no connection yet.

    Raises:
        UnfitError: the machine lacks a device that the settings name.
    """
    app = _celery(settings)
    worker = WorkerProcess.create(name, settings)
    duty = duty_of(role, worker)
    reconciler = Reconciler(worker, lambda kind: _ring(app, kind), duty.facts, duty.adopt, duty.is_well)
    register(app, role, duty)
    at_work = _boot_step("Duty", duty.start, duty.stop, after="celery.worker.components:Pool")
    app.steps["worker"].add(at_work)
    app.steps["worker"].add(_boot_step("Reconciling", reconciler.start, reconciler.stop, after=at_work))

    def heed_shutdown(**_: Any) -> None:
        worker.stop.set()  # the supervisor hands its record back, which ends the task, which lets Celery exit

    worker_shutting_down.connect(heed_shutdown, weak=False)
    return app


def _celery(settings: Settings) -> Celery:
    app = Celery("dcgan", broker=settings.redis_url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=False,  # a message is a doorbell: losing it is harmless, repeating it useless
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # else a full Redis, which refuses Celery's keys, ends the worker
        broker_transport_options={
            "global_keyprefix": CELERY_PREFIX,
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 5,  # half-open connections heal in 18 s instead of 46 s
        },
    )
    return app


def _ring(app: Celery, kind: RecordKind) -> None:
    role = ROLE_OF_KIND[kind]
    try:
        app.send_task(TASK_OF_ROLE[role], queue=role.value, retry=False, ignore_result=True)
    except (OperationalError, kombu.exceptions.OperationalError):
        return  # the next round rings again


def _boot_step(label: str, begin: Callable[[], None], end: Callable[[], None], *, after: str | type) -> type:
    class Step(bootsteps.StartStopStep):
        name = label
        requires = (after,)

        def __init__(self, parent: object, **_: Any) -> None:
            super().__init__(parent)

        def start(self, parent: object) -> None:
            del parent
            begin()

        def stop(self, parent: object) -> None:
            del parent
            end()

        terminate = stop

    Step.__qualname__ = Step.__name__ = label
    return Step
