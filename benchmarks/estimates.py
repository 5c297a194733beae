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
from dataclasses import dataclass
from multiprocessing import context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from contract.dataset import Manifest
from contract.estimate import Estimate, EstimateAsk
from contract.training import JobRequest, TrainingSpec, resolve
from contract.volume import Volume
from models.datasets.archive import prepare
from worker import link
from worker.child import Child, forkserver
from worker.orders import EstimateOrder, Reading, TrainingOrder
from worker.readings import OverheardChild, Readings

PICTURES = Path(__file__).parents[1] / "examples" / "fashion-mnist-5k.zip"
DATASET = "ds_" + "0" * 16
PRELOAD = ["worker.training", "worker.estimating", "torch._inductor"]
NARROW = {"kind": "dcgan", "latent_size": 16, "generator_width": 8, "discriminator_width": 8}

Device = Literal["auto", "cpu", "cuda"]

HEAD = "| job | measured | extrapolated | trained | real | memory | real |\n" + 7 * "|---" + "|"
JOBS: dict[str, dict[str, Any]] = {
    "defaults, 6,400 images": {"images": 6_400},
    "width 8, 25,600 images": {"images": 25_600, "architecture": NARROW},
    "64 px, batches of 16, 1,600 images": {"images": 1_600, "batch_size": 16, "resolution": 64},
    "resnet, 1,600 images": {"images": 1_600, "architecture": "resnet"},
    "preset wgan-gp, 3,200 images": {"images": 3_200, "preset": "wgan-gp"},
}


@dataclass(frozen=True)
class Setting:
    """Where and with what the benchmark measures."""

    volume: Volume
    manifest: Manifest
    device: Device
    threads: int
    server: context.ForkServerContext


def main() -> None:
    parser = argparse.ArgumentParser(description="What dry runs foretell, and what comes.")
    parser.add_argument("--device", choices=get_args(Device), default="auto")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    server = forkserver(PRELOAD)
    Child.start(server).end()
    with TemporaryDirectory() as directory:
        volume = Volume(Path(directory))
        volume.original(DATASET).parent.mkdir(parents=True)
        volume.original(DATASET).write_bytes(PICTURES.read_bytes())
        manifest = prepare(volume.original(DATASET), DATASET, volume, lambda *_: None)
        setting = Setting(volume, manifest, given.device, given.threads, server)
        print(HEAD)
        readings: tuple[Reading, ...] = ()
        for number, (name, asked) in enumerate(JOBS.items()):
            spec = resolve(JobRequest.model_validate({"dataset": DATASET, **asked}), manifest)
            readings += foretell_and_train(name, spec, setting, readings, number)


def foretell_and_train(
    name: str, spec: TrainingSpec, setting: Setting, readings: tuple[Reading, ...], number: int
) -> tuple[Reading, ...]:
    """Print a row of the table; returns the job's readings."""
    measured = foretell(spec, setting, ())
    extrapolated = foretell(spec, setting, readings) if readings else None
    seconds, peak_bytes, read = train(spec, setting, number)
    trained = foretell(spec, setting, read) if read else None
    told = [f"{one.time.seconds:.0f} s" if one else "–" for one in (measured, extrapolated, trained)]
    memory = f"{measured.memory.needed_bytes / 2**20:.0f} MiB | {peak_bytes / 2**20:.0f} MiB"
    print(f"| {name} | {' | '.join(told)} | {seconds:.0f} s | {memory} |", flush=True)
    return read


def foretell(spec: TrainingSpec, setting: Setting, readings: tuple[Reading, ...]) -> Estimate:
    """The first estimate by the child of a trainer with these readings; without any, an idle one's last."""
    manifest = setting.manifest
    ask = EstimateAsk(
        id="1", deadline_ms=1, spec=spec, images=manifest.images, held_out_images=manifest.held_out_images
    )
    order = EstimateOrder(
        ask=ask,
        worker="benchmark",
        data_root=setting.volume.root,
        device=setting.device,
        threads=setting.threads,
        readings=readings,
        training=None,
    )
    child = Child.start(setting.server)
    child.begin("worker.estimating:estimate_job", order.model_dump_json())
    told = [message for message in listen(child) if isinstance(message, link.Estimated)]
    child.end()
    return told[0 if readings else -1].estimate


def train(spec: TrainingSpec, setting: Setting, number: int) -> tuple[float, int, tuple[Reading, ...]]:
    """Train the job; returns its seconds, peak bytes and readings."""
    readings = Readings(setting.volume.readings(f"benchmark-{number}"))
    order = TrainingOrder(
        job=f"job_{number:016d}",
        token=1,
        spec=spec,
        data_root=setting.volume.root,
        device=setting.device,
        threads=setting.threads,
        snapshot_seconds=20,
        snapshot=None,
        checkpoints=(),
        environment=None,
    )
    child = OverheardChild.start(setting.server).overheard_by(readings)
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
