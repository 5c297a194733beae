"""The service that the soak harms: a stack with one trainer, and a second one behind a failing network."""

import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import httpx
import psutil

from contract.volume import Volume
from tests.system.black_hole import BlackHole
from tests.system.inside import witness
from tests.system.stack import BRIEF_LEASE_SECONDS, ENDS_WITHIN_SECONDS, REPOSITORY, Stack, alive

TRAINER = ("-m", "worker", "--role", "train")
MAX_DEATHS = 20
"""Deaths that a job may have without a snapshot between them. Many, because none is its own fault here."""


class Patient(Stack):
    """`dcgan up`, and a separate trainer that is connected to Redis through a black hole."""

    def __init__(self, folder: Path) -> None:
        self.witnesses = folder / "witnesses"
        self.witnesses.mkdir(parents=True)
        environment = {
            "PYTHONPATH": f"{Path(witness.__file__).parent}:{REPOSITORY}",
            witness.DIRECTORY: str(self.witnesses),
            "DCGAN_MAX_DEATHS": str(MAX_DEATHS),
        }
        super().__init__(folder / "data", environment=environment, lease_seconds=BRIEF_LEASE_SECONDS)
        self.http = httpx.Client(base_url=self.url, timeout=30)  # the soak goes on while a part is away
        self.volume = Volume(self.root)

    def begin(self) -> None:
        """Start everything."""
        self.start()
        redis = self.records().connection_pool.connection_kwargs
        self.black_hole = BlackHole(("127.0.0.1", redis["port"]))
        url = f"redis://:{redis['password']}@127.0.0.1:{self.black_hole.port}/0"
        self._far = FarWorker("train", self.environment() | {"DCGAN_REDIS_URL": url}, self.root)

    def end(self) -> None:
        """End everything, as Ctrl-C does."""
        self._far.end()
        self.stop()
        self.black_hole.close()

    def searched(self) -> list[psutil.Process]:
        """Also the far trainer, which the launcher has not started."""
        return self.processes()

    def trainers(self) -> list[psutil.Process]:
        """The trainers that are alive; only those with a job, if any has one."""
        trainers = self.find(*TRAINER)
        return [trainer for trainer in trainers if children_of(trainer)] or trainers

    def far_trainer(self) -> list[psutil.Process]:
        return [trainer for trainer in self.find(*TRAINER) if trainer.pid == self._far.pid]

    def training_children(self) -> list[psutil.Process]:
        return [child for trainer in self.find(*TRAINER) for child in children_of(trainer)]

    def job_of(self, process: psutil.Process) -> str | None:
        """The job that a trainer, or its child, worked on at its last recorded act."""
        path = self.witnesses / str(process.pid)
        done = witness.acts_of(path) if path.exists() else []
        return done[-1].job if done and not done[-1].command.startswith(("leave", "died")) else None


class FarWorker:
    """`dcgan worker --role …`, restarted whenever it ends."""

    def __init__(self, role: str, environment: Mapping[str, str], root: Path) -> None:
        self._role = role
        self._environment = {**environment, "DCGAN_DATA_ROOT": str(root)}
        self._log = root.with_name(f"far-{role}.log")
        self._ending = threading.Event()
        self._start()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def end(self) -> None:
        self._ending.set()
        self._keeper.join()
        self._process.terminate()
        try:
            self._process.wait(ENDS_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "worker", "--role", self._role],
                stdout=log,
                stderr=log,
                cwd=self._log.parent,
                env=self._environment,
                start_new_session=True,
            )

    def _keep(self) -> None:
        while not self._ending.wait(0.2):
            if self._process.poll() is not None:
                self._start()


def children_of(trainer: psutil.Process) -> list[psutil.Process]:
    """Its training child, if it has a job: the forkserver's child."""
    try:
        found = [process for server in trainer.children() for process in server.children()]
    except psutil.Error:  # it has just ended
        return []
    return [process for process in found if alive(process)]
