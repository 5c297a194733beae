"""Claim: an idle trainer's dry run predicts the duration of a job within a factor of two.

    python benchmarks/estimates.py [--device cpu] [--threads 2]

Estimates and then trains each job on the example pictures, in children of a forkserver as in a trainer. There
are three estimates of its seconds: `measured`, by an idle trainer without readings; `extrapolated`, from the
jobs before it, all with different steps; and `trained`, from its own pace afterwards. Real seconds count from
the order to the last message. Real memory is the peak of resident memory not backed by a file, minus that
before the order; GPU memory is not included. Takes some minutes on two cores.
"""

import argparse
import os
import time
from multiprocessing import context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

from benchmarks.jobs.ground import EXAMPLES, Ground
from contract.devices import DeviceChoice
from contract.estimate import Estimate, EstimateAsk
from contract.training import TrainingSpec
from worker import link
from worker.child import Child, forkserver
from worker.orders import EstimateOrder, Reading
from worker.readings import OverheardChild, Readings

PRELOAD = ["worker.training", "worker.estimating", "torch._inductor"]
NARROW = {"kind": "dcgan", "latent_size": 16, "generator_width": 8, "discriminator_width": 8}

HEAD = "| job | measured | extrapolated | trained | real | memory | real |\n" + 7 * "|---" + "|"
JOBS: dict[str, dict[str, Any]] = {
    "defaults, 6,400 images": {"images": 6_400},
    "width 8, 25,600 images": {"images": 25_600, "architecture": NARROW},
    "64 px, batches of 16, 1,600 images": {"images": 1_600, "batch_size": 16, "resolution": 64},
    "resnet, 1,600 images": {"images": 1_600, "architecture": "resnet"},
    "preset wgan-gp, 3,200 images": {"images": 3_200, "preset": "wgan-gp"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description="What dry runs foretell, and what comes.")
    parser.add_argument("--device", choices=get_args(DeviceChoice), default="auto")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    server = forkserver(PRELOAD)
    Child.start(server).end()
    with TemporaryDirectory() as directory:
        ground = Ground.lay(Path(directory), EXAMPLES, given.device, given.threads)
        print(HEAD)
        readings: tuple[Reading, ...] = ()
        for number, (name, asked) in enumerate(JOBS.items()):
            readings += foretell_and_train(name, ground.spec(asked), ground, server, readings, number)


def foretell_and_train(
    name: str,
    spec: TrainingSpec,
    ground: Ground,
    server: context.ForkServerContext,
    readings: tuple[Reading, ...],
    number: int,
) -> tuple[Reading, ...]:
    """Print a row of the table; returns the job's readings."""
    measured = foretell(spec, ground, server, ())
    extrapolated = foretell(spec, ground, server, readings) if readings else None
    seconds, peak_bytes, read = train(spec, ground, server, number)
    trained = foretell(spec, ground, server, read) if read else None
    told = [f"{one.time.seconds:.0f} s" if one else "–" for one in (measured, extrapolated, trained)]
    memory = f"{measured.memory.needed_bytes / 2**20:.0f} MiB | {peak_bytes / 2**20:.0f} MiB"
    print(f"| {name} | {' | '.join(told)} | {seconds:.0f} s | {memory} |", flush=True)
    return read


def foretell(
    spec: TrainingSpec, ground: Ground, server: context.ForkServerContext, readings: tuple[Reading, ...]
) -> Estimate:
    """The first estimate by the child of a trainer with these readings; without any, an idle one's last."""
    manifest = ground.manifest
    ask = EstimateAsk(
        id="1", deadline_ms=1, spec=spec, images=manifest.images, held_out_images=manifest.held_out_images
    )
    order = EstimateOrder(
        ask=ask,
        worker="benchmark",
        data_root=ground.volume.root,
        device=ground.device,
        threads=ground.threads,
        readings=readings,
        training=None,
    )
    child = Child.start(server)
    child.begin("worker.estimating:estimate_job", order.model_dump_json())
    told = [message for message in listen(child) if isinstance(message, link.Estimated)]
    child.end()
    return told[0 if readings else -1].estimate


def train(
    spec: TrainingSpec, ground: Ground, server: context.ForkServerContext, number: int
) -> tuple[float, int, tuple[Reading, ...]]:
    """Train the job; returns its seconds, peak bytes and readings."""
    readings = Readings(ground.volume.readings(f"benchmark-{number}"))
    order = ground.order(spec, f"job_{number:016d}")
    child = OverheardChild.start(server).overheard_by(readings)
    before = anonymous_bytes(child)
    since = time.monotonic()
    child.begin("worker.training:train_job", order.model_dump_json())
    peak_bytes = 0
    messages: list[link.Message] = []
    while not messages or not isinstance(messages[-1], link.Finished | link.Failed | link.Crashed):
        messages += child.messages(0.02)
        peak_bytes = max(peak_bytes, anonymous_bytes(child))
    seconds = time.monotonic() - since
    child.end()
    assert isinstance(messages[-1], link.Finished), messages[-1]
    return seconds, peak_bytes - before, readings.all()


def listen(child: Child) -> list[link.Message]:
    """All messages of a child until it ends."""
    messages: list[link.Message] = []
    while child.is_alive:
        messages += child.messages(0.05)
    return messages + child.messages(0)


def anonymous_bytes(child: Child) -> int:
    """Resident memory of a process that is not backed by a file; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{child.process_id}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


if __name__ == "__main__":
    main()
