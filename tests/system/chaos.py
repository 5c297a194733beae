"""A soak test: real jobs, random faults in every part of the service, and a count of what went wrong.

    python -m tests.system.chaos [--jobs 20] [--faults 100] [--seed 0]

The faults are drawn from the seed and spread over the work: the next is due when its share of all images has
been trained, or after a while without one. Exit code 1 if anything was lost, doubled, unequal or left over.
"""

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.system.faults import KINDS, Harm, NobodyError, deal, persist
from tests.system.patient import Patient
from tests.system.stack import TINY, AwayError
from tests.system.toll import Struck, Toll, examine, table


@dataclass(frozen=True)
class Spec:
    """The parameters of a job, and how fast it trains on one idle core."""

    images_per_second: int
    parameters: dict[str, Any]

    def request(self, seconds: float) -> dict[str, Any]:
        """The request for a job that takes this long when undisturbed."""
        return {"images": round(self.images_per_second * seconds), **self.parameters}


SPECS = {
    "dcgan": Spec(1700, {"architecture": TINY}),
    "hinge": Spec(1600, {"architecture": TINY, "objective": "hinge", "seed": 1}),
    "wasserstein": Spec(1500, {"architecture": TINY, "objective": "wgan_gp"}),
    "fully connected": Spec(1200, {"architecture": {**TINY, "kind": "dcgan_fc"}, "prior": "uniform"}),
}
SECONDS_FOR_A_FAULT = 4.0
"""The length of a job for each fault per job."""
LIVE = 4
"""Jobs queued or in training at a time."""
SILENCE_SECONDS = 8.0
"""The longest time without a fault while any are left."""
STALL_SECONDS = 90.0
"""The soak gives up on its jobs when none has progressed for this long."""


def main() -> int:
    """Run the soak and print its table."""
    options = _parse()
    folder = Path(tempfile.mkdtemp(prefix="dcgan-chaos-"))
    patient = Patient(folder)
    patient.begin()
    try:
        toll = Soak(patient, options).run()
    finally:
        patient.end()
    print(table(toll))
    if not toll.findings:
        shutil.rmtree(folder)
        return 0
    print(f"\nThe data root, the logs and what the processes witnessed are in {folder}.")
    return 1


class Soak:
    """Submits the jobs and inflicts the faults."""

    def __init__(self, patient: Patient, options: argparse.Namespace) -> None:
        self._patient = patient
        self._chance = random.Random(options.seed)
        self._harm = Harm(patient, self._chance)
        self._kinds = deal(self._chance, options.faults)
        self._due = sorted(self._chance.uniform(0, 0.95) for _ in self._kinds)
        self._job_seconds = SECONDS_FOR_A_FAULT * max(1.0, options.faults / options.jobs)
        self._waiting = [*itertools.islice(itertools.cycle(SPECS), options.jobs)]
        self._jobs = options.jobs
        self._shares: dict[str, float] = {}
        self._moved_at = self._struck_at = time.monotonic()
        self._toll = Toll(options.seed)

    def run(self) -> Toll:
        """Run each spec undisturbed, then all jobs under faults, and examine the outcome once it is quiet."""
        toll, patient = self._toll, self._patient
        toll.undisturbed = {spec: self._submit(spec) for spec in dict.fromkeys(self._waiting)}
        for job in toll.undisturbed.values():
            patient.await_state(job, "succeeded", seconds=600)
        toll.began = self._moved_at = self._struck_at = time.monotonic()
        while (self._waiting or self._harm.live) and time.monotonic() - self._moved_at < STALL_SECONDS:
            self._keep_busy()
            self._look()
            self._strike_if_due()
            time.sleep(0.1)
        self._harm.wait()
        toll.ended = time.monotonic()
        examine(toll, patient, self._harm.datasets)
        return toll

    def _submit(self, spec: str) -> str:
        return self._patient.train(**SPECS[spec].request(self._job_seconds))

    def _keep_busy(self) -> None:
        if self._waiting and len(self._harm.live) < LIVE:
            spec = self._waiting.pop(0)
            job = persist(lambda: self._submit(spec))
            self._toll.specs[job] = spec
            self._harm.live.append(job)

    def _look(self) -> None:
        """Update the progress of the jobs, or leave it unchanged if the gateway is away."""
        for job in [*self._harm.live]:
            try:
                told = self._patient.job(job)
            except (httpx.TransportError, AwayError):
                return
            share = told["progress"]["images_seen"] / told["progress"]["total"]
            if share > self._shares.get(job, 0.0):
                self._moved_at = time.monotonic()
            self._shares[job] = max(share, self._shares.get(job, 0.0))
            if told["state"] in ("succeeded", "failed", "cancelled"):
                self._shares[job] = 1.0
                self._harm.live.remove(job)

    def _strike_if_due(self) -> None:
        struck = len(self._toll.struck)
        if struck == len(self._kinds) or not self._harm.live:
            return
        done = sum(self._shares.values()) / self._jobs
        if done < self._due[struck] and time.monotonic() - self._struck_at < SILENCE_SECONDS:
            return
        kind = self._kinds[struck]
        _, strike = KINDS[kind]
        try:
            jobs = strike(self._harm)
        except NobodyError:
            return  # retried in the next round
        self._struck_at = time.monotonic()
        self._toll.struck.append(Struck(kind, self._struck_at, jobs))
        print(f"{self._struck_at - self._toll.began:6.1f} s  {kind} {' '.join(jobs)}", flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.system.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
