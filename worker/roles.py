"""What a worker does: train, prepare or sample. Every role implements the same interface."""

import gc
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from contract.job import Record
from contract.keys import KIND_OF_ROLE, Role
from contract.plugin import Frozen
from worker import link
from worker.child import Child, UnfitError, forkserver
from worker.child_group import ChildGroup
from worker.estimator import Estimator
from worker.facts import Facts
from worker.orders import DeviceOrder, PreparingOrder, TrainingOrder
from worker.process import WorkerProcess
from worker.readings import OverheardChild, Readings
from worker.settings import Settings
from worker.supervisor import Supervisor
from worker.workshop import Workshop

logger = logging.getLogger(__name__)


class Duty(Protocol):
    """The part of a worker that differs by role."""

    def start(self) -> None:
        """Called once, before the worker takes messages."""

    def answer_bell(self) -> None:
        """Called in Celery's one task thread when there may be work in the queue."""

    def facts(self) -> Mapping[str, Any]:
        """What the worker reports about itself with every sign of life."""
        ...

    def adopt(self, renderer: str | None) -> None:
        """Heed the reply to it: the deployment's renderer. The first one implies that the records stand."""

    def is_well(self) -> bool:
        """Whether everything it runs is alive. A worker that is not well exits, to be restarted."""
        ...

    def stop(self) -> None:
        """Release everything."""


@dataclass(frozen=True)
class Trade:
    """The work of a supervised role: which function its children run, and how their order is written."""

    work: str
    preload: tuple[str, ...]
    order: Callable[[Record, Facts, Settings], Frozen]


TRADES = {
    Role.TRAIN: Trade(
        "worker.training:train_job",
        (
            "worker.training",
            "worker.estimating",
            "worker.crafting",
            "torch._inductor",
        ),  # torch would import the last at its first step: 3 s
        TrainingOrder.for_record,
    ),
    Role.PREPARE: Trade("worker.preparing:prepare_dataset", ("worker.preparing",), PreparingOrder.for_record),
}


class SupervisedDuty:
    """Training and preparing: records from a queue, each in a child process."""

    def __init__(self, role: Role, worker: WorkerProcess) -> None:
        self._role = role
        self._trade = TRADES[role]
        self._worker = worker
        self._records_stand = threading.Event()
        self._is_warm = threading.Event()
        self._forkserver = forkserver(list(self._trade.preload))
        self._devices = worker.settings.devices if role is Role.TRAIN else 1
        self._supervisor = Supervisor(
            KIND_OF_ROLE[role], worker, self._start_children, self._devices, self._write_order
        )

    def start(self) -> None:
        """Let the forkserver do its imports before there is work."""
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()

    def answer_bell(self) -> None:
        for needed in (self._records_stand, self._is_warm):
            while not needed.wait(0.2):
                if self._worker.stop.is_set():
                    return
        self._supervisor.work_through_queue()

    def facts(self) -> Mapping[str, Any]:
        is_active = self._records_stand.is_set() and self._is_warm.is_set()
        return {"role": self._role, "active": is_active, "devices": self._devices}

    def adopt(self, renderer: str | None) -> None:
        del renderer
        self._records_stand.set()

    def is_well(self) -> bool:
        return True  # only children die here, and the supervisor handles that

    def stop(self) -> None:
        """Stop the supervisor, since not everything that ends the worker sends Celery's shutdown signal."""
        self._worker.stop.set()

    def _warm_up(self) -> None:
        while not self._worker.stop.is_set():
            try:
                self._start_child().end()
            except (OSError, EOFError) as error:
                logger.error("no child can be started: %s", error)
                self._worker.stop.wait(1)
            else:
                self._is_warm.set()
                return

    def _start_children(self) -> ChildGroup:
        return ChildGroup.start(self._devices, self._start_leader, self._start_child)

    def _start_leader(self) -> Child:
        return self._start_child()

    def _start_child(self) -> Child:
        return Child.start(self._forkserver)

    def _write_order(self, record: Record, facts: Facts) -> tuple[str, str]:
        order = self._trade.order(record, facts, self._worker.settings)
        return self._trade.work, order.model_dump_json()


DETECTION_SECONDS = 120.0
"""More than a child needs to initialise several GPUs; a driver may also hang."""


class TrainDuty(SupervisedDuty):
    """Training and, beside it, estimating what other jobs would take and working on generators."""

    def __init__(self, worker: WorkerProcess) -> None:
        """Raises UnfitError if the machine lacks what the settings name."""
        super().__init__(Role.TRAIN, worker)
        if worker.settings.device == "cuda" or worker.settings.devices > 1:  # else any machine will do
            self._require_devices()
        self._readings = Readings(worker.volume.readings(worker.name))
        self._estimator = Estimator(worker, self._start_child, self._readings, self._is_warm)
        self._workshop = Workshop(worker, self._start_child, self._readings, self._is_warm)

    def start(self) -> None:
        super().start()
        self._estimator.start()
        self._workshop.start()

    def stop(self) -> None:
        super().stop()
        for server in (self._estimator, self._workshop):
            server.end()  # both, before either is waited for
        for server in (self._estimator, self._workshop):
            server.stop()

    def _require_devices(self) -> None:
        order = DeviceOrder(device=self._worker.settings.device, devices=self._devices)
        child = self._start_child()
        try:
            child.begin("worker.devices:find_devices", order.model_dump_json())
            heard = child.messages(DETECTION_SECONDS)
        finally:
            exit_code = child.end()
        match heard:
            case [link.Finished()]:
                return
            case [link.Unfit(detail=detail)]:
                raise UnfitError(detail)
        raise RuntimeError(f"no devices were found: {heard or f'exit code {exit_code}'}")

    def _start_leader(self) -> Child:
        return OverheardChild.start(self._forkserver).overheard_by(self._readings)


SWITCH_SECONDS = 0.0005
"""How long the forward pass waits for the GIL while another thread of a sampler runs Python. It needs the GIL
again between layers: with Python's 5 ms, a busy thread slowed a pass from 16 ms to 60; with this, to 23."""
YOUNG_OBJECTS = 10_000
"""Objects that accumulate before a garbage collection: more than a batch of 64 creates."""


class SampleDuty:
    """Sampling, on a dedicated consumer thread; Celery's queue is not used."""

    def __init__(self, worker: WorkerProcess) -> None:
        """Raises UnfitError if the machine lacks what the settings name."""
        # Imported here, so that the other roles' parent processes stay small, without torch.
        from models.inference import rendering_environment
        from models.sampler import renderer
        from worker.devices import naming_the_setting
        from worker.engine import Engine
        from worker.formats.identity import encoders
        from worker.sampling import SampleConsumer

        settings = worker.settings
        # One thread: the renderer is the same on machines of any size, and no threads wait for each other
        # while a trainer keeps the cores busy. More samplers use more cores.
        with naming_the_setting(settings.device):
            numeric = rendering_environment(settings.device, settings.threads or 1)
        numeric.apply()
        self._name = worker.name
        self._consumer = SampleConsumer(
            worker.name,
            settings.sampling_url,
            Engine(worker.volume, numeric, settings.generators_bytes),
            f"{renderer(numeric)}-e{encoders()}",
            settings.batch_limit,
        )

    def start(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.collect()
        gc.freeze()  # scanning all of torch's modules takes 120 ms, during which no request is served
        gc.set_threshold(YOUNG_OBJECTS)
        self._consumer.start()

    def answer_bell(self) -> None:
        """Does nothing: samplers take requests from their lists."""

    def facts(self) -> Mapping[str, Any]:
        return {
            "role": Role.SAMPLE,
            "name": self._name,
            "active": self._consumer.trouble is None,
            "trouble": self._consumer.trouble,
            "renderer": self._consumer.renderer,
            "precisions": self._consumer.precisions,
        }

    def adopt(self, renderer: str | None) -> None:
        self._consumer.adopt(renderer)

    def is_well(self) -> bool:
        return self._consumer.is_well

    def stop(self) -> None:
        self._consumer.stop()


def duty(role: Role, worker: WorkerProcess) -> Duty:
    """Create the duty of a role.

    Raises:
        UnfitError: the machine lacks a device that the settings name.
    """
    if role is Role.SAMPLE:
        return SampleDuty(worker)
    if role is Role.TRAIN:
        return TrainDuty(worker)
    return SupervisedDuty(role, worker)
