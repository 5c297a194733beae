"""Claim: an idle trainer's dry run foretells the seconds of a job within a factor of two.

    python benchmarks/estimates.py [--device cpu] [--threads 2]

Each job is foretold and then trained, in children of a forkserver as a trainer has it, on the example
pictures. Its seconds are foretold thrice: `measured`, as an idle trainer does that has no pace of it;
`extrapolated` from the jobs before it, all of other steps; and, once it has been, from its own pace
(`trained`). Real seconds are those from the order to the last message; real memory is the most that was seen
resident and not of a file, less what was there before the order; of a GPU's it says nothing. Some minutes on
two cores.
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
    """Where it is measured."""

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
    """A row of the table; what was read of the job."""
    measured = foretell(spec, setting, ())
    extrapolated = foretell(spec, setting, readings) if readings else None
    seconds, peak_bytes, read = train(spec, setting, number)
    trained = foretell(spec, setting, read) if read else None
    told = [f"{one.time.seconds:.0f} s" if one else "–" for one in (measured, extrapolated, trained)]
    memory = f"{measured.memory.needed_bytes / 2**20:.0f} MiB | {peak_bytes / 2**20:.0f} MiB"
    print(f"| {name} | {' | '.join(told)} | {seconds:.0f} s | {memory} |", flush=True)
    return read


def foretell(spec: TrainingSpec, setting: Setting, readings: tuple[Reading, ...]) -> Estimate:
    """What the child of a trainer with these readings tells last; of one that is idle if it has none."""
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
    """Seconds and bytes at the peak of the real job, and its reading."""
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
    """All that a child says."""
    messages: list[link.Message] = []
    while child.is_alive:
        messages += child.messages(0.05)
    return messages + child.messages(0)


def anonymous_bytes(child: Child) -> int:
    """What is resident of a process and not of a file; 0 of one that has ended."""
    try:
        lines = Path(f"/proc/{child.process_id}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


if __name__ == "__main__":
    main()
