"""Claim: in equal time, the default preset gets closer to the pictures than the plain DCGAN script.

    python benchmarks/quality.py [--seconds 600] [--seeds 3] [--archive ZIP] [--preset fast] [--threads 2]
                                 [--resolution 32] [--device cpu] [--sheets DIRECTORY]

For each seed in turn, a trainer's child runs a job, including start-up, evaluations and snapshots, with as
many images as are likely to fill the time; then the plain script of `benchmarks/rivals/` trains on the same
pictures for exactly as long. Both are judged by the Fréchet distance, in this package's features, of 2,048
samples to the held-out pictures: ours from the checkpoint that the job would serve, the script's in train
mode, as it samples. Also prints the error of the finish time that our job predicted from its first minute on,
as a share of the time then remaining. `--sheets` saves 64 samples of both sides for every seed.

On a GPU, start it with CUBLAS_WORKSPACE_CONFIG=:4096:8, as every worker is.
"""

import argparse
import multiprocessing
import statistics
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.jobs.ground import EXAMPLES, JOB, Ground
from benchmarks.rivals.plain_script import BATCH, plain_script
from contract.devices import Device
from contract.job import CheckpointFact, best_checkpoint
from contract.training import TrainingSpec
from models import metrics
from models.datasets.arrays import array
from models.datasets.split import held_out_indices, training_indices
from models.environment import detect
from models.features import embedded
from models.pixels import to_numbers, to_pixels
from models.sampler import Sampler
from models.sheet import sheet
from worker import link, training
from worker.child import Chore

SAMPLES = 2048
TRIAL_SECONDS = 20
"""The duration of a trial job, which determines how many images fill the time."""
BESIDES = 0.07
"""The share of time for evaluations, checkpoints and snapshots, which the trial does not include."""

MINUTE = 60

SPAWNING = multiprocessing.get_context("spawn")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Result:
    """The result of one side."""

    distance: float
    images: int
    seconds: float
    samples: Pixels
    """(N, C, R, R)"""

    def __str__(self) -> str:
        return f"fd {self.distance:.2f} ({self.images:,} images in {self.seconds:.0f} s)"


@dataclass(frozen=True)
class Comparison:
    """The results of both sides after equal times on the same pictures."""

    ours: Result
    plain: Result

    @property
    def ratio(self) -> float:
        return self.ours.distance / self.plain.distance

    def __str__(self) -> str:
        return f"ours {self.ours}, plain {self.plain}, {self.ratio:.2f}×"


@dataclass(frozen=True)
class Run:
    """What a trainer's child reported about a job."""

    best: CheckpointFact
    images: int
    seconds: float
    foretold: list[tuple[float, float]]
    """Pairs of elapsed seconds and the total seconds predicted then."""

    def misses(self) -> list[float]:
        """Errors of the predictions, without the first and last minute, as shares of the remaining time."""
        return [
            abs(told - self.seconds) / (self.seconds - at)
            for at, told in self.foretold
            if MINUTE <= at <= self.seconds - MINUTE
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Pictures in equal time: the plain script's against ours.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--archive", type=Path, default=EXAMPLES)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=get_args(Device), default="cpu")
    parser.add_argument("--sheets", type=Path)
    given = parser.parse_args()
    with TemporaryDirectory() as directory:
        trial = Trial(
            Path(directory), given.archive, given.preset, given.resolution, given.device, given.threads
        )
        print(trial.describe())
        ratios = []
        for seed in range(given.seeds):
            compared = trial.compare(seed, given.seconds)
            ratios.append(compared.ratio)
            print(f"seed {seed}: {compared}", flush=True)
            if given.sheets:
                keep_sheet(compared.ours.samples, given.sheets / f"{seed}-{given.preset}.png")
                keep_sheet(compared.plain.samples, given.sheets / f"{seed}-plain.png")
    print(f"median: {statistics.median(ratios):.2f}× the distance of the plain script")


class Trial:
    """Pictures, prepared as by the service, and the results of both sides on them."""

    def __init__(
        self, root: Path, archive: Path, preset: str, resolution: int, device: Device, threads: int
    ) -> None:
        self._preset, self._resolution, self._device = preset, resolution, device
        self._ground = Ground.lay(root, archive, device, threads)
        manifest, spec = self._ground.manifest, self._spec(0, images=1)
        self._pixels = array(self._ground.volume, manifest, spec.form)
        self._features = embedded.load("cpu")
        held_out = held_out_indices(manifest)
        if not held_out.size:
            raise SystemExit(f"{archive} has {manifest.images} pictures, too few to judge by; send 160")
        self._reals = self._seen(self._pixels[held_out])

    def describe(self) -> str:
        environment = detect(self._device, self._ground.threads, "auto")
        judged = f"{len(self._reals)} held-out pictures, {SAMPLES} samples, {self._features.version}"
        trained_on = self._pixels[training_indices(self._ground.manifest)[:SAMPLES]]
        pictures = f"training pictures in place of samples: fd {self._distance(trained_on):.2f}"
        return f"{environment.fingerprint}; preset {self._preset}; {judged}; {pictures}"

    def compare(self, seed: int, seconds: float) -> Comparison:
        """Train ours for about `seconds`, then the script for exactly as long as that took."""
        ours = self.ours(seed, seconds)
        return Comparison(ours, self.plain(seed, ours.seconds))

    def ours(self, seed: int, seconds: float) -> Result:
        """Run a job of about `seconds`, at least one batch."""
        start_seconds, images_per_second = self._pace(seed)
        images = max(1, round((seconds - start_seconds) * (1 - BESIDES) * images_per_second))
        run = self._carry_out(self._spec(seed, images=images))
        if misses := run.misses():
            print(f"seed {seed}: finish told after a minute {misses[0]:.0%} off, at worst {max(misses):.0%}")
        path = self._ground.volume.checkpoint(JOB, run.best.file)
        environment = detect("cpu", self._ground.threads, "float32")
        rendered = Sampler.load(path, run.best.digest, environment).render(range(SAMPLES))  # (N, R, R, C)
        samples = rendered.transpose(0, 3, 1, 2)
        return Result(self._distance(samples), run.images, run.seconds, samples)

    def plain(self, seed: int, seconds: float) -> Result:
        """Run the script and stop it after `seconds`."""
        spec = self._spec(seed, images=1)
        pictures = self._pixels[training_indices(self._ground.manifest)]
        started = time.monotonic()
        ours, theirs = SPAWNING.Pipe()
        arguments = (theirs, spec, pictures, self._device, self._ground.threads)
        process = SPAWNING.Process(target=train_plainly, args=arguments)
        process.start()
        time.sleep(max(0.0, seconds - (time.monotonic() - started)))
        ours.send("enough")
        samples, images = ours.recv()
        process.join()
        return Result(self._distance(samples), images, seconds, samples)

    def _spec(self, seed: int, images: int) -> TrainingSpec:
        return self._ground.spec(
            {"preset": self._preset, "resolution": self._resolution, "seed": seed, "images": images}
        )

    def _pace(self, seed: int) -> tuple[float, float]:
        """The seconds a trainer's child takes to start, and its images per second."""
        started = time.monotonic()
        readings: list[tuple[float, int]] = []
        connection, process = self._start(self._spec(seed, images=10**9))
        while not readings or readings[-1][0] - readings[0][0] < TRIAL_SECONDS:
            message = link.receive(connection)
            if isinstance(message, link.Advanced) and message.progress.done > 0:
                readings.append((time.monotonic(), message.progress.done))
        process.kill()
        process.join()
        (first_at, first), (last_at, last) = readings[0], readings[-1]
        return first_at - started, (last - first) / (last_at - first_at)

    def _carry_out(self, spec: TrainingSpec) -> Run:
        """Run a job in a trainer's child."""
        started = time.monotonic()
        connection, process = self._start(spec)
        published: list[CheckpointFact] = []
        foretold: list[tuple[float, float]] = []
        while not isinstance(message := link.receive(connection), link.Finished | link.Failed):
            if isinstance(message, link.Published):
                published.append(message.checkpoint)
            if isinstance(message, link.Advanced):
                progress, at = message.progress, time.monotonic() - started
                if progress.seconds_left is not None:
                    foretold.append((at, at + progress.seconds_left))
        seconds = time.monotonic() - started
        process.join()
        return Run(best_checkpoint(published), progress.done, seconds, foretold)

    def _start(self, spec: TrainingSpec) -> tuple[Connection, SpawnProcess]:
        """Start a trainer's child on this spec; returns the connection to it and its process."""
        order = self._ground.order(spec)
        ours, theirs = SPAWNING.Pipe()
        process = SPAWNING.Process(target=train_ours, args=(theirs, order.model_dump_json()))
        process.start()
        theirs.close()
        return ours, process

    def _distance(self, samples: Pixels) -> float:
        return metrics.frechet_distance(self._reals, self._seen(samples))

    def _seen(self, pixels: Pixels) -> Tensor:
        chunks = torch.split(torch.from_numpy(np.ascontiguousarray(pixels)), 64)
        return torch.cat([self._features.of(to_numbers(some)) for some in chunks])


def keep_sheet(samples: Pixels, file: Path) -> None:
    """Write the first 64 samples (N, C, R, R) as one picture."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet(samples[:64].transpose(0, 2, 3, 1))).save(file)


def train_ours(connection: Connection, order: str) -> None:
    training.train_job(order, Chore(connection))


def train_plainly(
    connection: Connection, spec: TrainingSpec, pictures: Pixels, device: Device, threads: int
) -> None:
    """Train until a message arrives; then send back 2,048 samples and the number of images."""
    torch.set_num_threads(threads)
    torch.manual_seed(spec.seed)
    loader = DataLoader(Decoded(pictures), BATCH, shuffle=True, num_workers=2, drop_last=True)
    trainee = plain_script(spec.resolution, spec.channels, loader, device)
    images = 0
    while not connection.poll():
        next(trainee.steps)
        images += BATCH
    with torch.no_grad():
        made = [
            to_pixels(trainee.generator(torch.randn(BATCH, trainee.generator.latent_size, device=device)))
            for _ in range(SAMPLES // BATCH)
        ]
    connection.send((torch.cat(made).cpu().numpy(), images))


class Decoded(Dataset[Tensor]):
    """Pictures (N, C, R, R), already decoded and of one size, which favours the script over using files."""

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> Tensor:
        return to_numbers(torch.from_numpy(self._pixels[index]))


if __name__ == "__main__":
    main()
