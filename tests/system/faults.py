"""The kinds of fault that a soak inflicts: how often each is drawn, and what it does."""

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import httpx
import psutil
import redis

from tests.system.patient import Patient
from tests.system.stack import BRIEF_LEASE_SECONDS, PATIENCE_SECONDS, until

T = TypeVar("T")


class NobodyError(Exception):
    """There is currently no such process, file or job to harm."""


@dataclass
class Harm:
    """Inflicts faults on a patient, and keeps track of those that end only later."""

    patient: Patient
    chance: random.Random
    live: list[str] = field(default_factory=list)
    """The jobs that can be harmed."""
    datasets: list[str] = field(default_factory=list)
    """The datasets that were uploaded so that preparers could be signalled while at work."""
    _pending: list[threading.Thread] = field(default_factory=list)

    def wait(self) -> None:
        """Wait until stopped processes continue, uploads are accepted and paused jobs are resumed."""
        for thread in self._pending:
            thread.join()

    def later(self, act: Callable[[], None], seconds: float = 0) -> None:
        timer = threading.Timer(seconds, act)
        self._pending.append(timer)
        timer.start()

    def jobs_of(self, *processes: psutil.Process) -> list[str]:
        """The jobs that stall when these processes do."""
        jobs = (self.patient.job_of(process) for process in processes)
        return [job for job in jobs if job in self.live]


Victims = Callable[[Patient], list[psutil.Process]]
Strike = Callable[[Harm], list[str]]
"""Inflicts a fault. Returns the jobs that it stopped; raises `NobodyError` if there is nothing to harm."""


def _send(number: signal.Signals, victims: Victims) -> Strike:
    def strike(harm: Harm) -> list[str]:
        victim = _one_of(victims(harm.patient), harm.chance)
        jobs = harm.jobs_of(victim)
        _signal(victim, number)
        return jobs

    return strike


def _stop(victims: Victims) -> Strike:
    """Send SIGSTOP, and SIGCONT after more than a lease."""

    def strike(harm: Harm) -> list[str]:
        victim = _one_of(victims(harm.patient), harm.chance)
        jobs = harm.jobs_of(victim)
        _signal(victim, signal.SIGSTOP)
        harm.later(lambda: _wake(victim), _past_a_lease(harm))
        return jobs

    return strike


def _wake(victim: psutil.Process) -> None:
    with contextlib.suppress(NobodyError):  # it was killed meanwhile
        _signal(victim, signal.SIGCONT)


def _cut_off(harm: Harm) -> list[str]:
    """Drop every byte between the far trainer and Redis for more than a lease."""
    jobs = harm.jobs_of(_one_of(harm.patient.far_trainer(), harm.chance))
    harm.patient.black_hole.swallow(_past_a_lease(harm))
    return jobs


def _rot(harm: Harm) -> list[str]:
    """Flip a bit of a job's newest snapshot and kill its child, so that the snapshot is loaded."""
    child = _one_of(harm.patient.training_children(), harm.chance)
    for job in harm.jobs_of(child):
        with contextlib.suppress(FileNotFoundError):
            for newest in harm.patient.snapshots(job)[-1:]:
                content = bytearray(newest.read_bytes())
                content[harm.chance.randrange(len(content))] ^= 1
                newest.write_bytes(content)
                _signal(child, signal.SIGKILL)
                return [job]
    raise NobodyError


def _kill_redis(folder: str) -> Strike:
    def strike(harm: Harm) -> list[str]:
        directory = str(harm.patient.root / folder)
        servers = [
            process
            for process in harm.patient.launcher.children(recursive=True)
            if process.name() == "redis-server" and process.cwd() == directory
        ]
        jobs = harm.jobs_of(*harm.patient.trainers()) if folder == "redis" else []
        _signal(_one_of(servers, harm.chance), signal.SIGKILL)
        return jobs

    return strike


def _empty_redis(harm: Harm) -> list[str]:
    jobs = harm.jobs_of(*harm.patient.trainers())
    try:
        harm.patient.records().flushall()
    except redis.RedisError:
        raise NobodyError from None
    return jobs


def _prepare_and_send(number: signal.Signals) -> Strike:
    """Upload pictures, and signal the preparer once it works on them."""

    def strike(harm: Harm) -> list[str]:
        patient = harm.patient

        def act() -> None:
            dataset = persist(patient.upload)
            harm.datasets.append(dataset)
            until(
                lambda: patient.get(f"/datasets/{dataset}")["state"] != "queued", "a claim", PATIENCE_SECONDS
            )
            for preparer in patient.find("-m", "worker", "--role", "prepare"):
                with contextlib.suppress(NobodyError):
                    _signal(preparer, number)

        harm.later(act)
        return []

    return strike


def _storm(harm: Harm) -> list[str]:
    """Pause and resume a job several times in a row; the last request is to resume."""
    job = _one_of(harm.live, harm.chance)
    pauses = [harm.chance.uniform(0, 0.6) for _ in range(2 * harm.chance.randint(1, 4))]

    def act() -> None:
        for number, seconds in enumerate(pauses):
            with contextlib.suppress(httpx.TransportError):
                harm.patient.http.post(f"/jobs/{job}/{'resume' if number % 2 else 'pause'}")
            time.sleep(seconds)
        persist(lambda: _resumed(harm.patient, job))

    harm.later(act)
    return []


def _resumed(patient: Patient, job: str) -> bool:
    response = patient.http.post(f"/jobs/{job}/resume")
    assert response.status_code in (202, 409), response.text  # 409: the job is over
    return True


def _gateway(patient: Patient) -> list[psutil.Process]:
    return patient.find("-m", "service", "--host")


def _sampler(patient: Patient) -> list[psutil.Process]:
    return patient.find("-m", "worker", "--role", "sample")


KINDS: dict[str, tuple[int, Strike]] = {
    "trainer killed": (12, _send(signal.SIGKILL, Patient.trainers)),
    "trainer ended": (6, _send(signal.SIGTERM, Patient.trainers)),
    "trainer stopped past its lease": (10, _stop(Patient.trainers)),
    "trainer cut off from Redis": (8, _cut_off),
    "child killed": (12, _send(signal.SIGKILL, Patient.training_children)),
    "child stopped past a lease": (6, _stop(Patient.training_children)),
    "snapshot rotten, child killed": (6, _rot),
    "Redis killed": (6, _kill_redis("redis")),
    "Redis emptied": (2, _empty_redis),
    "Redis of the samples killed": (2, _kill_redis("run/redis-samples")),
    "gateway killed": (6, _send(signal.SIGKILL, _gateway)),
    "gateway ended": (3, _send(signal.SIGTERM, _gateway)),
    "gateway stopped": (3, _stop(_gateway)),
    "preparer killed": (3, _prepare_and_send(signal.SIGKILL)),
    "preparer ended": (2, _prepare_and_send(signal.SIGTERM)),
    "sampler killed": (3, _send(signal.SIGKILL, _sampler)),
    "sampler ended": (2, _send(signal.SIGTERM, _sampler)),
    "paused and resumed": (8, _storm),
}
"""How often each kind comes in a hundred faults, and what it does."""


def deal(chance: random.Random, count: int) -> list[str]:
    """Draw `count` kinds in random order; in each full hundred, each comes as often as `KINDS` says."""
    deck: list[str] = []
    while len(deck) < count:
        hundred = [kind for kind, (times, _) in KINDS.items() for _ in range(times)]
        chance.shuffle(hundred)
        deck += hundred
    return deck[:count]


def persist(act: Callable[[], T]) -> T:
    """Retry until the service answers as it should."""

    def answered() -> T | None:
        try:
            return act()
        except AssertionError:  # the service says that a part of it is away
            return None

    answer = until(answered, "an answer of the service", PATIENCE_SECONDS)
    assert answer is not None
    return answer


def _one_of(those: Sequence[T], chance: random.Random) -> T:
    if not those:
        raise NobodyError
    return chance.choice(those)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        raise NobodyError from None


def _past_a_lease(harm: Harm) -> float:
    return harm.chance.uniform(1.2, 3.5) * BRIEF_LEASE_SECONDS
