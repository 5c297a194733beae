"""Claim: our training step is faster than the commonly copied DCGAN script's: about twice, in bfloat16.

    python benchmarks/training.py [--device cpu] [--threads 2] [--workers 2] [--rounds 5] [--steps 6]
                                  [--quality-seconds 60]

Both train the same networks (width 64, batch 64) on the same pictures, each in its own process and in turns,
so that other load on the machine affects both, and settings of one do not affect the other. The script is the
loop of pytorch/examples: float32, contiguous, sigmoid and BCE, the discriminator's gradients in the
generator's step, five host syncs per step, and a DataLoader whose workers decode the PNG files again in every
epoch. The workers are idle during our turns.

Also prints, for both, the peak memory of the process (on a GPU, of its memory; DataLoader workers are not
counted), and the step's rate as a share of the rate of a large matrix product in the same precision.

Then ours, with the preset `fast`, and the script train for `--quality-seconds` each (0: not at all) on the
pictures of the example, as in `benchmarks/quality.py` with one seed, and the Fréchet distances of both are
printed. The default is too short for good pictures; give 600 to compare what the two become.

On a GPU, start it with CUBLAS_WORKSPACE_CONFIG=:4096:8, as every worker is.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.jobs.ground import EXAMPLES
from benchmarks.quality import Trial
from benchmarks.rivals.plain_script import BATCH, Trainee, plain_script
from contract.devices import Device
from contract.training import TrainingSpec
from models.allocator import keep_freed_memory
from models.batches import Batches
from models.cost import Cost
from models.environment import detect
from models.pixels import to_numbers
from models.state import TrainingState
from models.trainer import train

CHANNELS = 3
PICTURES = 512
EPOCH = 60_000
"""The nominal number of files, large enough that restarting the workers at each epoch does not matter."""
MATRIX = {"cpu": 1024, "cuda": 8192}
"""The side of a matrix large enough for products at full speed."""

Player = Literal["plain", "ours"]


@dataclass(frozen=True)
class Setting:
    """What is measured, and where."""

    resolution: int
    device: Device
    threads: int
    workers: int
    """Workers of the plain script's DataLoader."""
    directory: Path
    """The directory of the pictures."""


@dataclass(frozen=True)
class Measured:
    """One side's images per second in each round, peak bytes, and the rate of a matrix product."""

    speeds: list[float]
    peak_bytes: int
    multiply_adds_per_second: float

    def line(self, name: str, cost: Cost) -> str:
        speed = statistics.median(self.speeds)
        share = speed * cost.training / self.multiply_adds_per_second
        rate = f"{share:.0%} of {2e-9 * self.multiply_adds_per_second:.0f} GFLOP/s"
        return f"{name} {speed:.0f} images/s, {self.peak_bytes / 2**20:.0f} MiB, {rate}"


def main() -> None:
    parser = argparse.ArgumentParser(description="A training step: the plain script's against ours.")
    parser.add_argument("--device", choices=get_args(Device), default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--workers", type=int, default=2, help="of the plain script's DataLoader")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="steps in a round")
    parser.add_argument("--quality-seconds", type=float, default=60, help="of each side; 0: only the speed")
    given = parser.parse_args()
    environment = detect(given.device, given.threads, "auto")
    print(f"{environment.fingerprint}; plain: float32, contiguous, {given.workers} DataLoader workers")
    for resolution in (32, 64):
        with TemporaryDirectory() as directory:
            Pictures.draw(Path(directory), resolution)
            setting = Setting(resolution, given.device, given.threads, given.workers, Path(directory))
            plain, ours = measure(setting, given.rounds, given.steps)
        ratio = statistics.median(b / a for a, b in zip(plain.speeds, ours.speeds, strict=True))
        cost = Cost.of(spec_of(resolution))
        print(
            f"{resolution} px: {ratio:.2f}×; {plain.line('plain', cost)}; {ours.line('ours', cost)}",
            flush=True,
        )
        if given.quality_seconds:
            compare_distances(resolution, given.device, given.threads, given.quality_seconds)


def compare_distances(resolution: int, device: Device, threads: int, seconds: float) -> None:
    """Print the Fréchet distances of both after equal times on the pictures of the example."""
    with TemporaryDirectory() as directory:
        trial = Trial(Path(directory), EXAMPLES, "fast", resolution, device, threads)
        print(f"{resolution} px, equal time: {trial.describe()}")
        print(f"{resolution} px, equal time: {trial.compare(0, seconds)}", flush=True)


def measure(setting: Setting, rounds: int, steps: int) -> tuple[Measured, Measured]:
    """Measure the plain script and ours in turns, after one warm-up round."""
    with Side("plain", setting) as plain, Side("ours", setting) as ours:
        for _ in range(rounds + 1):
            plain.take_turn(steps)
            ours.take_turn(steps)
        return plain.measured(), ours.measured()


class Side:
    """A process that trains on command and reports its speed."""

    def __init__(self, player: Player, setting: Setting) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._connection, theirs = spawning.Pipe()
        self._process = spawning.Process(target=play, args=(theirs, player, setting))
        self._speeds: list[float] = []

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()  # ends the process
        self._process.join()

    def take_turn(self, steps: int) -> None:
        self._connection.send(steps)
        self._speeds.append(self._connection.recv())

    def measured(self) -> Measured:
        self._connection.send(0)
        peak_bytes, multiply_adds_per_second = self._connection.recv()
        return Measured(self._speeds[1:], peak_bytes, multiply_adds_per_second)


def play(connection: Connection, player: Player, setting: Setting) -> None:
    """The process's main loop: for each number received, train that many steps; on 0, report its usage."""
    trainee = {"plain": plain_trainer, "ours": our_trainer}[player](setting)
    while steps := connection.recv():
        connection.send(speed(trainee, setting.device, steps))
    bfloat16 = player == "ours" and detect(setting.device, setting.threads, "auto").precision == "bfloat16"
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    connection.send((peak_bytes(setting.device), matrix_rate(setting.device, dtype)))


def speed(trainee: Trainee, device: Device, steps: int) -> float:
    """Images per second over some steps."""
    started = time.perf_counter()
    for _ in range(steps):
        next(trainee.steps)
    _finish(device)
    return steps * BATCH / (time.perf_counter() - started)


def peak_bytes(device: Device) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_reserved()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10  # Linux counts in KiB


def matrix_rate(device: Device, dtype: torch.dtype) -> float:
    """Multiply-adds per second in the fastest of some products of square matrices."""
    side, seconds = MATRIX[device], []
    matrix = torch.ones(side, side, dtype=dtype, device=device)
    for _ in range(40):
        started = time.perf_counter()
        torch.mm(matrix, matrix)
        _finish(device)
        seconds.append(time.perf_counter() - started)
    return float(side**3 / min(seconds))


def _finish(device: Device) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def spec_of(resolution: int) -> TrainingSpec:
    """A spec with the default networks and practically endless training."""
    return TrainingSpec(
        dataset="ds_" + "0" * 16,
        preset="fast",
        name=None,
        resolution=resolution,
        channels=CHANNELS,
        images=10**10,
        batch_size=BATCH,
        checkpoint_every_images=1,
        preview_every_images=1,
    )


class Pictures(Dataset[Tensor]):
    """Picture files, decoded on access as by torchvision's ImageFolder."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @staticmethod
    def draw(directory: Path, resolution: int) -> None:
        """Write pictures of random coarse squares, which give files of realistic size."""
        generator = np.random.default_rng(0)
        for index in range(PICTURES):
            coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            fine = coarse.resize((resolution, resolution), Image.Resampling.BICUBIC)
            fine.save(directory / f"{index}.png")

    def __len__(self) -> int:
        return EPOCH

    def __getitem__(self, index: int) -> Tensor:
        return to_numbers(torch.from_numpy(self.pixels(index)))

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """One picture (C, R, R)."""
        with Image.open(self._directory / f"{index % PICTURES}.png") as picture:
            return np.asarray(picture.convert("RGB")).transpose(2, 0, 1).copy()


def plain_trainer(setting: Setting) -> Trainee:
    torch.set_num_threads(setting.threads)
    loader = DataLoader(
        Pictures(setting.directory), BATCH, shuffle=True, num_workers=setting.workers, drop_last=True
    )
    return plain_script(setting.resolution, CHANNELS, loader, setting.device)


def our_trainer(setting: Setting) -> Trainee:
    """Our trainer, set up as in a worker's child."""
    environment = detect(setting.device, setting.threads, "auto")
    environment.apply()
    keep_freed_memory()
    pictures = Pictures(setting.directory)
    pixels = np.stack([pictures.pixels(index) for index in range(PICTURES)])
    batches = Batches(
        pixels, np.arange(PICTURES), batch_size=BATCH, seed=0, device=setting.device, mirror=False
    )
    state = TrainingState.fresh(spec_of(setting.resolution), environment)
    return Trainee(state.generator, train(state, batches))


if __name__ == "__main__":
    main()
