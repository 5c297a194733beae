"""Claim: a generator renders fastest folded, in channels_last, in bfloat16 where supported, on a CPU packed.

    python benchmarks/inference.py [--device cpu] [--threads 1] [--rounds 5] [--resolutions 32 64]

Runs the same weights (dcgan of width 64, three channels; `--architecture` selects another) in turns in one
process, by batch size, after a warm-up round. The results are recorded as `PLANS` in `models/inference.py`;
processes that render never time anything. bfloat16 means weights in bfloat16, not autocast. A single CPU
thread is timed by its thread clock, which excludes the time that other processes use the core.

Also prints the difference of each variant from eager float32, in levels of 255, and the cost of loading: the
probes in all buckets that ensure that no picture depends on its batch.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import get_args

import torch
from torch import Tensor

from contract.architectures import Architecture
from contract.checkpoint import CheckpointHeader
from contract.devices import Device
from contract.training import TrainingSpec
from models import networks
from models.environment import NumericEnvironment
from models.inference import for_inference, rendering_environment
from models.networks.pair import Generator
from models.packing import pack
from models.sampler import Sampler

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TURN_SECONDS = 0.1
STATISTICS_BATCHES = 30
LARGEST = {32: 256, 64: 256, 128: 32}
"""The largest batch by resolution; beyond it a turn on one core takes seconds."""

Clock = Callable[[], float]
Way = Callable[[Tensor], Tensor]
"""Maps latents in float32 to images."""


def main() -> None:
    parser = argparse.ArgumentParser(description="A generator's forward pass, by layout and precision.")
    parser.add_argument("--device", choices=get_args(Device), default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="as samplers have")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--resolutions", type=int, nargs="+", choices=sorted(LARGEST), default=[32, 64])
    parser.add_argument("--architecture", default="dcgan")
    parser.add_argument("--width", type=int, default=64)
    given = parser.parse_args()
    environment = rendering_environment(given.device, given.threads)
    environment.apply()
    print(f"{environment.fingerprint}; medians of {given.rounds} rounds, images/s")
    for resolution in given.resolutions:
        spec = spec_of(given.architecture, given.width, resolution)
        print(f"\n{given.architecture}, width {given.width}, {resolution} px")
        compare(spec, environment, given.rounds)


def spec_of(kind: str, width: int, resolution: int) -> TrainingSpec:
    architecture = {"kind": kind, "latent_size": 100, "generator_width": width, "discriminator_width": 4}
    return TrainingSpec.model_validate(
        {
            "dataset": "ds_" + "0" * 16,
            "preset": "fast",
            "name": None,
            "architecture": architecture,
            "resolution": resolution,
            "channels": 3,
            "checkpoint_every_images": 1,
            "preview_every_images": 1,
        }
    )


def compare(spec: TrainingSpec, environment: NumericEnvironment, rounds: int) -> None:
    generator = generator_of(spec.architecture, spec.resolution)
    header = CheckpointHeader(job="job_" + "0" * 16, spec=spec, images_seen=0)
    Sampler(generator, header, environment)  # warm up: a kernel's first use costs more
    clock = time.thread_time if (environment.device, environment.threads) == ("cpu", 1) else time.perf_counter
    started = clock()
    sampler = Sampler(generator, header, environment)
    took = clock() - started
    ways = ways_of(generator, environment)
    latents = torch.randn(max(BATCHES), generator.latent_size, generator=torch.Generator().manual_seed(0))
    latents = latents.to(environment.device)
    print(f"{'batch':>5}" + "".join(f"{name:>24}" for name in ways))
    for batch in BATCHES:
        if batch > LARGEST[spec.resolution]:
            break
        speeds = in_turns(ways, latents[:batch], rounds, clock)
        print(f"{batch:>5}" + "".join(f"{statistics.median(speeds[name]):>24,.0f}" for name in ways))
    eager, *_ = (forward(way, latents[:64]) for way in ways.values())
    for name, way in ways.items():
        off = (forward(way, latents[:64]) - eager).abs() * 127.5
        print(f"{name}: {off.mean():.4f} levels off on average, {off.max():.3f} at most")
    print(f"loading, from weights in memory: {took:.2f} s; buckets {sampler.buckets}")


def generator_of(architecture: Architecture, resolution: int) -> Generator:
    generator = networks.build(architecture, resolution, 3).generator
    generator.initialise(0)
    with torch.no_grad():  # without batch norm's statistics, fresh weights give only grey
        for index in range(STATISTICS_BATCHES):
            randomness = torch.Generator().manual_seed(index)
            generator.train()(torch.randn(64, generator.latent_size, generator=randomness))
    return generator.eval()


def ways_of(generator: Generator, environment: NumericEnvironment) -> Mapping[str, Way]:
    contiguous = environment.model_copy(update={"layout": "contiguous"})
    last = environment.model_copy(update={"layout": "channels_last"})
    contiguous.place(generator)
    ways = {
        "eager float32": _way(generator.requires_grad_(requires_grad=False)),
        "folded float32": _way(for_inference(generator, contiguous)),
        "channels_last float32": _way(for_inference(generator, last)),
        "channels_last bfloat16": _way(for_inference(generator, last, "bfloat16"), torch.bfloat16),
    }
    if environment.device == "cpu":
        ways["packed float32"] = _way(pack(for_inference(generator, last)))
        ways["packed bfloat16"] = _way(pack(for_inference(generator, last, "bfloat16")), torch.bfloat16)
    return ways


def _way(generator: Generator, takes: torch.dtype = torch.float32) -> Way:
    return lambda latents: generator(latents.to(takes))


def in_turns(ways: Mapping[str, Way], latents: Tensor, rounds: int, clock: Clock) -> dict[str, list[float]]:
    """Images per second of each way in each round, without the warm-up round."""
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            speed = pace(way, latents, clock)
            if turn:
                speeds[name].append(speed)
    return speeds


def pace(way: Way, latents: Tensor, clock: Clock) -> float:
    images, started = 0, clock()
    while images == 0 or clock() - started < TURN_SECONDS:
        forward(way, latents)
        images += len(latents)
    return images / (clock() - started)


@torch.inference_mode()
def forward(way: Way, latents: Tensor) -> Tensor:
    """The images in float32, copied to the CPU, which waits for the device."""
    return way(latents).float().cpu()


if __name__ == "__main__":
    main()
