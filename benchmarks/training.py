"""Claim: a step of ours is about twice as fast as that of the DCGAN script everybody copies.

    python benchmarks/training.py [--threads 2] [--rounds 5] [--steps 6]

Both train the same networks (width 64, batch 64) on the same pixels in the same process, in turns, so that
whatever else the machine does hits both. The script's side is the loop of pytorch/examples: float32, sigmoid
and BCE, the discriminator's gradients in the generator's step, five host syncs a step. It even gets its
images ready-made, without the cost of its data loader.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.optim import Adam

from contract.training import TrainingSpec
from models import networks
from models.batches import Batches
from models.environment import NumericEnvironment, detect
from models.pixels import to_numbers
from models.state import TrainingState
from models.trainer import train

BATCH = 64
PICTURES = 512


@dataclass(frozen=True)
class Speeds:
    """Images per second, one figure per round."""

    plain: list[float]
    ours: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description="A training step: the plain script's against ours.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="steps in a round")
    given = parser.parse_args()
    environment = detect("cpu", given.threads, "auto")
    environment.apply()
    print(environment.fingerprint)
    for resolution in (32, 64):
        speeds = measure(spec_of(resolution), environment, given.rounds, given.steps)
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


def measure(spec: TrainingSpec, environment: NumericEnvironment, rounds: int, steps: int) -> Speeds:
    """The speeds of both loops, in turns, after one round that does not count."""
    shape = (PICTURES, spec.channels, spec.resolution, spec.resolution)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    batches = Batches(pixels, np.arange(PICTURES), batch_size=BATCH, seed=0, device="cpu", mirror=False)
    ours = train(TrainingState.fresh(spec, environment), batches)
    plain = plain_loop(spec, to_numbers(torch.from_numpy(pixels)))
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


def plain_loop(spec: TrainingSpec, images: torch.Tensor) -> Iterator[float]:
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
        for real in torch.split(images, BATCH):
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
