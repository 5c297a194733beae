"""A volume of a benchmark, with one dataset, and the orders that a trainer's child gets for jobs on it."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from contract.dataset import Manifest
from contract.devices import DeviceChoice
from contract.training import JobRequest, TrainingSpec, resolve
from contract.volume import Volume
from models.datasets.archive import prepare
from worker.orders import TrainingOrder

EXAMPLES = Path(__file__).parents[2] / "examples" / "fashion-mnist-5k.zip"
DATASET, JOB = "ds_" + "0" * 16, "job_" + "0" * 16


@dataclass(frozen=True)
class Ground:
    """Where and with what a benchmark trains."""

    volume: Volume
    manifest: Manifest
    device: DeviceChoice
    threads: int

    @classmethod
    def lay(cls, root: Path, archive: Path, device: DeviceChoice, threads: int) -> Self:
        """Lay out a volume, and prepare the pictures of a zip as the service does."""
        volume = Volume(root)
        volume.lay_out()
        original = volume.original(DATASET)
        original.parent.mkdir(parents=True)
        original.write_bytes(archive.read_bytes())
        return cls(volume, prepare(original, DATASET, volume, lambda *_: None), device, threads)

    def spec(self, asked: dict[str, Any]) -> TrainingSpec:
        """What the service would train for these fields of `POST /jobs`."""
        return resolve(JobRequest.model_validate({"dataset": DATASET, **asked}), self.manifest)

    def order(self, spec: TrainingSpec, job: str = JOB) -> TrainingOrder:
        """The order to train a job from its beginning. Makes its directory, empty."""
        shutil.rmtree(self.volume.job(job), ignore_errors=True)
        self.volume.job(job).mkdir()
        return TrainingOrder(
            job=job,
            token=1,
            spec=spec,
            data_root=self.volume.root,
            device=self.device,
            threads=self.threads,
            snapshot_seconds=20,
            snapshot=None,
            checkpoints=(),
        )
