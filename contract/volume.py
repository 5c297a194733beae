"""The layout of the mounted volume."""

import contextlib
import errno
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from contract.dataset import ArrayForm
from contract.identifiers import IMPORTED, LATEST, ReferenceKind, kind_of, reference_kind
from contract.keys import RecordKind
from contract.webhook import Endpoint

logger = logging.getLogger(__name__)

INCEPTION_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
"""As torch-fidelity's release names them."""
_WEIGHTS_NAME = re.compile(r"[0-9]{12,}-[0-9]+\.safetensors")


@dataclass(frozen=True)
class Volume:
    """Paths under `DCGAN_DATA_ROOT`. Pure, except for its first methods and for `all_…`.

    Nobody but `lay_out` creates one of its top directories, in which a volume differs from the directory that
    it is mounted on: without `jobs/`, the volume is away.
    """

    root: Path

    def lay_out(self) -> None:
        """Create the top directories that are missing. Only where the volume is known to be there, or new."""
        self.root.mkdir(parents=True, exist_ok=True)
        for directory in (
            self.datasets,
            self.incoming_uploads,
            self.aliases,
            self.imports,
            self.incoming_imports,
            self.notes_of_imports,
            self.tombstones,
            self.trash,
            self.jobs,  # the last one: the others exist if it does
        ):
            directory.mkdir(exist_ok=True)

    def is_laid_out(self) -> bool:
        """Whether it is there, and not only the directory to mount it on. Older ones may lack directories.

        Raises:
            OSError: that cannot be determined.
        """
        return self.jobs.is_dir() or self.datasets.is_dir() or self.epoch.is_file()

    def require(self) -> None:
        """Raise OSError, one that may pass, unless the volume is there."""
        if not self.jobs.is_dir():
            raise OSError(errno.ENODEV, "the volume is not mounted", str(self.root))

    @contextlib.contextmanager
    def required(self) -> Iterator[None]:
        """Within this block, FileNotFoundError means that something was deleted: else `require` raises."""
        try:
            yield
        except FileNotFoundError:
            self.require()
            raise

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def aliases(self) -> Path:
        return self.root / "aliases"

    @property
    def imports(self) -> Path:
        """Imported generators."""
        return self.root / "models"

    @property
    def incoming_imports(self) -> Path:
        """Imports that are being received."""
        return self.imports / ".incoming"

    def imported(self, digest: str) -> Path:
        """The file of an imported generator."""
        return self.imports / imported_name(digest)

    @property
    def notes_of_imports(self) -> Path:
        return self.imports / ".changing"

    def note_of_import(self, digest: str) -> Path:
        """Exists while a generator is imported or removed."""
        return self.notes_of_imports / digest.removeprefix("sha256:")

    def all_notes_of_imports(self) -> dict[str, Path]:
        """By digest."""
        return _called("digest", {f"sha256:{one.name}": one for one in entries(self.notes_of_imports)})

    def all_imports(self) -> dict[str, Path]:
        """The imported generators' files by digest; not those that copying programs put beside them."""
        return _called(
            "digest", {f"sha256:{one.stem}": one for one in entries(self.imports, "*.safetensors")}
        )

    @property
    def epoch(self) -> Path:
        """The name of the last rebuild of the records, which a Redis with older ones does not know."""
        return self.root / "epoch"

    @property
    def tombstones(self) -> Path:
        return self.root / "tombstones"

    @property
    def trash(self) -> Path:
        """What is being removed: on the same file system, but where no rebuild looks for records."""
        return self.root / "trash"

    @property
    def inception(self) -> Path:
        """Inception's weights, for true FID. The operator puts them there."""
        return self.root / "features" / INCEPTION_WEIGHTS

    @property
    def run(self) -> Path:
        """Locks and working directories of the processes on this machine, and the trainers' readings."""
        return self.root / "run"

    def readings(self, worker: str) -> Path:
        """How fast jobs ran on a trainer."""
        return self.run / f"{worker}.readings.json"

    @property
    def incoming_uploads(self) -> Path:
        """Archives that are being received."""
        return self.datasets / ".incoming"

    def dataset(self, dataset_id: str) -> Path:
        return self.datasets / dataset_id

    def original(self, dataset_id: str) -> Path:
        """The uploaded archive, unchanged."""
        return self.dataset(dataset_id) / "original" / "upload.zip"

    def manifest(self, dataset_id: str) -> Path:
        return self.dataset(dataset_id) / "manifest.json"

    def arrays(self, dataset_id: str) -> Path:
        return self.dataset(dataset_id) / "arrays"

    def array(self, dataset_id: str, form: ArrayForm) -> Path:
        """Every usable picture as uint8 (N, C, R, R), in the order of the manifest."""
        return self.arrays(dataset_id) / f"{form.resolution}-{form.channels}-{form.fit}.npy"

    def job(self, job_id: str) -> Path:
        return self.jobs / job_id

    def home(self, record_id: str) -> Path:
        """The directory of a record of either kind."""
        return self.job(record_id) if kind_of(record_id) is RecordKind.JOB else self.dataset(record_id)

    def spec(self, record_id: str) -> Path:
        """The record's spec, written by the gateway before the record exists."""
        return self.home(record_id) / "spec.json"

    def submission(self, record_id: str) -> Path:
        """Who submitted it, and how; written before `spec.json`."""
        return self.home(record_id) / "submission.json"

    def queued(self, record_id: str) -> Path:
        """Created once Redis knows the record, before its client gets the response."""
        return self.home(record_id) / "queued"

    def told(self, job_id: str, endpoint: Endpoint) -> Path:
        """The final outcome of reporting a job's end to an endpoint."""
        return self.job(job_id) / f"told-{endpoint}.json"

    def intent(self, record_id: str) -> Path:
        """What the gateway last wanted of it."""
        return self.home(record_id) / "intent.json"

    def facts(self, record_id: str, token: int) -> Path:
        """The last facts of the owner with this token."""
        return self.home(record_id) / f"facts-{token:020d}.json"

    def all_facts(self, record_id: str) -> list[Path]:
        """The facts of all owners, the newest owner's last."""
        return entries(self.home(record_id), "facts-*.json")

    def events(self, record_id: str) -> Path:
        """The mirror of its event stream, one JSON object per line."""
        return self.home(record_id) / "events.jsonl"

    def previews(self, job_id: str) -> Path:
        return self.job(job_id) / "previews"

    def preview(self, job_id: str, images_seen: int) -> Path:
        return self.previews(job_id) / f"{images_seen:012d}.png"

    def checkpoints(self, job_id: str) -> Path:
        return self.job(job_id) / "checkpoints"

    def checkpoint(self, job_id: str, file: str) -> Path:
        """A served generator; `file` as the record names it."""
        return (self.imports if job_id == IMPORTED else self.checkpoints(job_id)) / file

    def snapshots(self, job_id: str) -> Path:
        return self.job(job_id) / "resume"

    def snapshot(self, job_id: str, file: str) -> Path:
        """Everything a bit-exact resume needs; `file` as the record names it."""
        return self.snapshots(job_id) / file

    def alias(self, alias: str) -> Path:
        return self.aliases / f"{alias}.json"

    def all_aliases(self) -> dict[str, Path]:
        """The aliases' files by alias; not those that copying programs put beside them."""
        return _called("alias", {one.stem: one for one in entries(self.aliases, "*.json")})

    def pending_tombstone(self, record_id: str) -> Path:
        """Raised before Redis is told to forget the record: it may or may not have."""
        return self.tombstones / f"{record_id}.pending"

    def tombstone(self, record_id: str) -> Path:
        """Says for good that Redis has forgotten the record; the pending one is renamed to it."""
        return self.tombstones / f"{record_id}.json"


def entries(directory: Path, pattern: str = "*") -> list[Path]:
    """The paths in a directory, sorted.

    Raises:
        OSError: it cannot be listed, which `glob` would not tell from an empty one.
    """
    return sorted(path for path in directory.iterdir() if path.match(pattern))


def is_gone(path: Path) -> bool:
    """Whether it was deleted. A path whose directory is missing too was not: the volume may be away.

    Raises:
        OSError: that cannot be determined.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        return path.parent.is_dir()
    return False


def _called(kind: ReferenceKind, files: Mapping[str, Path]) -> dict[str, Path]:
    """Those whose names are of this kind, in order. The others are logged."""
    called = {}
    for name, path in sorted(files.items()):
        if reference_kind(name) == kind and name != LATEST:
            called[name] = path
        else:
            logger.warning("%s: ignored, since no file of the service has such a name", path)
    return called


def imported_name(digest: str) -> str:
    """The file name of an imported generator."""
    return f"{digest.removeprefix('sha256:')}.safetensors"


def weights_name(images_seen: int, token: int) -> str:
    """The file name of a checkpoint or snapshot, unique to one owner."""
    return f"{images_seen:012d}-{token}.safetensors"


def weights_files(directory: Path) -> list[Path]:
    """The checkpoints or snapshots in a directory, sorted; not what copying programs put beside them.

    Raises:
        OSError: it cannot be listed.
    """
    return [path for path in entries(directory) if _WEIGHTS_NAME.fullmatch(path.name)]


def images_seen_of(weights_name: str) -> int:
    """The images seen when the file of this name was written."""
    return int(weights_name.partition("-")[0])


def token_of(weights_name: str) -> int | None:
    """The token of the owner that wrote this file, larger for later owners; None for other file names."""
    token = weights_name.removesuffix(".safetensors").partition("-")[2]
    return int(token) if token.isdecimal() else None
