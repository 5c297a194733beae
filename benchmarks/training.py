"""Claim: a step of ours is about twice as fast as that of the DCGAN script everybody copies.

    python benchmarks/training.py [--threads 2] [--workers 2] [--rounds 5] [--steps 6]

Both train the same networks (width 64, batch 64) on the same pictures in the same process, in turns, so that
whatever else the machine does hits both. The script's side is the loop of pytorch/examples: float32, sigmoid
and BCE, the discriminator's gradients in the generator's step, five host syncs a step, and a DataLoader whose
workers decode the PNG files again in every epoch. While ours takes its turn they have nothing to do.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.optim import Adam
from torch.utils.data import DataLoader, Dataset

from contract.training import TrainingSpec
from models import networks
from models.batches import Batches
from models.environment import NumericEnvironment, detect
from models.pixels import to_numbers
from models.state import TrainingState
from models.trainer import train

BATCH = 64
PICTURES = 512
EPOCH = 60_000
"""The files count as so many: starting the workers anew for each epoch is not what is measured."""


@dataclass(frozen=True)
class Speeds:
    """Images per second, one figure per round."""

    plain: list[float]
    ours: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description="A training step: the plain script's against ours.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--workers", type=int, default=2, help="of the plain script's DataLoader")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="steps in a round")
    given = parser.parse_args()
    environment = detect("cpu", given.threads, "auto")
    environment.apply()
    print(f"{environment.fingerprint}; plain: float32, contiguous, {given.workers} DataLoader workers")
    for resolution in (32, 64):
        with TemporaryDirectory() as directory:
            pictures = Pictures.drawn(Path(directory), resolution)
            loader = DataLoader(pictures, BATCH, shuffle=True, num_workers=given.workers, drop_last=True)
            speeds = measure(spec_of(resolution), environment, pictures, loader, given.rounds, given.steps)
        plain, ours = statistics.median(speeds.plain), statistics.median(speeds.ours)
        print(f"{resolution} px: plain {plain:.0f} images/s, ours {ours:.0f} images/s, {ours / plain:.2f}×")


def spec_of(resolution: int) -> TrainingSpec:
    """The default networks for ever."""
    return TrainingSpec(
        dataset="ds_" + "0" * 16,
        preset="fast",
        name=None,
        resolution=resolution,
        channels=3,
        images=10**10,
        batch_size=BATCH,
        checkpoint_every_images=1,
        preview_every_images=1,
    )


class Pictures(Dataset[Tensor]):
    """Files of pictures, decoded when they are asked for, as torchvision's ImageFolder does."""

    def __init__(self, files: list[Path]) -> None:
        self._files = files

    @classmethod
    def drawn(cls, directory: Path, resolution: int) -> Self:
        """Random colours on coarse squares: files of a size that pictures have."""
        generator, files = np.random.default_rng(0), []
        for index in range(PICTURES):
            coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            files.append(directory / f"{index}.png")
            coarse.resize((resolution, resolution), Image.Resampling.BICUBIC).save(files[-1])
        return cls(files)

    def __len__(self) -> int:
        return EPOCH

    def __getitem__(self, index: int) -> Tensor:
        return to_numbers(torch.from_numpy(self.pixels(index)))

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """One picture (C, R, R)."""
        with Image.open(self._files[index % PICTURES]) as picture:
            return np.asarray(picture.convert("RGB")).transpose(2, 0, 1).copy()


def measure(
    spec: TrainingSpec,
    environment: NumericEnvironment,
    pictures: Pictures,
    loader: DataLoader[Tensor],
    rounds: int,
    steps: int,
) -> Speeds:
    """The speeds of both loops, in turns, after one round that does not count."""
    pixels = np.stack([pictures.pixels(index) for index in range(PICTURES)])
    batches = Batches(pixels, np.arange(PICTURES), batch_size=BATCH, seed=0, device="cpu", mirror=False)
    ours = train(TrainingState.fresh(spec, environment), batches)
    plain = plain_loop(spec, loader)
    speeds = Speeds([], [])
    for _ in range(rounds + 1):
        speeds.plain.append(speed(lambda: next(plain), steps))
        speeds.ours.append(speed(lambda: next(ours), steps))
    return Speeds(speeds.plain[1:], speeds.ours[1:])


def speed(step: Callable[[], object], steps: int) -> float:
    """Images per second over some steps."""
    started = time.perf_counter()
    for _ in range(steps):
        step()
    return steps * BATCH / (time.perf_counter() - started)


def plain_loop(spec: TrainingSpec, loader: DataLoader[Tensor]) -> Iterator[float]:
    """One step per item, as in pytorch/examples/dcgan/main.py."""
    pair = networks.build(spec.architecture, spec.resolution, spec.channels)
    generator, discriminator = pair.generator, pair.discriminator
    generator.initialise(0)
    discriminator.initialise(0)
    criterion = nn.BCELoss()
    optimizer_d = Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_g = Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    real_label, fake_label = torch.ones(BATCH), torch.zeros(BATCH)
    while True:
        for real in loader:
            discriminator.zero_grad()
            output = discriminator(real).sigmoid()
            loss_real = criterion(output, real_label)
            loss_real.backward()
            shown = output.mean().item()
            fake = generator(torch.randn(BATCH, generator.latent_size))
            output = discriminator(fake.detach()).sigmoid()
            loss_fake = criterion(output, fake_label)
            loss_fake.backward()
            shown += output.mean().item()
            optimizer_d.step()
            generator.zero_grad()
            output = discriminator(fake).sigmoid()
            loss_generator = criterion(output, real_label)
            loss_generator.backward()
            shown += output.mean().item()
            optimizer_g.step()
            yield shown + (loss_real + loss_fake).item() + loss_generator.item()


if __name__ == "__main__":
    main()
