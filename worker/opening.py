"""The opening of a run: everything from the order of a job to the moment before the next step."""

from collections.abc import Callable
from dataclasses import dataclass

from contract.dataset import Manifest
from contract.job import Progress
from contract.training import TrainingSpec
from contract.volume import Volume
from models.allocator import keep_freed_memory
from models.batches import Batches
from models.datasets.split import held_out_indices, training_indices
from models.environment import NumericEnvironment
from models.evaluation import Judge
from models.features import CHOICES
from models.memory import pictures_bytes, require_memory
from models.panel import Panel
from models.ranks import Alone, Group
from models.state import TrainingState
from models.workload import Workload
from worker import link
from worker.child import Chore
from worker.following import join, settle
from worker.memory import available_bytes
from worker.orders import TrainingOrder
from worker.pictures import discard_unreadable, manifest_of, pictures_of
from worker.room import room_of
from worker.run_files import RunFiles


@dataclass(frozen=True)
class Opened:
    """A run that is ready for its next step."""

    files: RunFiles
    state: TrainingState
    batches: Batches
    judge: Judge | None
    """None if the dataset has too few pictures to evaluate."""
    workload: Workload
    ranks: Alone | Group


def open_run(order: TrainingOrder, chore: Chore, show_life: Callable[[], None]) -> Opened:
    """Open a run, and wait until all its ranks have joined. The judge calls `show_life` while it judges.

    Raises:
        UnfitError: the device is not there, or does not work.
        ServiceError: the run needs more memory or other features than there are.
        StopRequestedError: there is nothing to save yet.
    """
    spec, volume = order.spec, Volume(order.data_root)
    room = room_of(chore, volume)
    files = RunFiles(order, chore, room)
    environment = settle(order, chore.place)
    manifest = manifest_of(spec, volume, room)
    if order.snapshot is None:  # not on resume: it takes a second
        _require_memory(spec, environment, manifest)
    state = files.restored(environment, lambda: _still_opening(order, chore, 0))

    def show(*_: int) -> None:
        _still_opening(order, chore, state.images_seen)

    if order.deaths:  # perhaps of a picture that could not be read; not always: it may take minutes
        discard_unreadable(spec, volume, room, show)
    pictures = pictures_of(spec, manifest, volume, room, show)
    training = training_indices(manifest)
    batches = Batches.of(spec, pictures, training, environment.device)
    panel = Panel.of(training, held_out_indices(manifest), spec.seed)
    if panel is None:
        judge, workload = None, Workload.of(spec, None, 0)
    else:
        chosen = CHOICES[spec.evaluation.features]
        features = chosen.load(volume, environment.device, room.read)
        judge = Judge(spec, pictures, panel, features, show_life)
        workload = Workload.of(spec, panel, chosen.multiply_adds(spec.resolution))
    keep_freed_memory()  # not before: memory used for decoding would be kept for the whole run
    return Opened(files, state, batches, judge, workload, join(environment, chore.place))


def _still_opening(order: TrainingOrder, chore: Chore, images_seen: int) -> None:
    """Send a sign of life, and end at a stop request, since there is nothing to save yet."""
    chore.heed_stop()
    chore.tell(link.Advanced(progress=Progress(done=images_seen, total=order.spec.total_images)))


def _require_memory(spec: TrainingSpec, environment: NumericEnvironment, manifest: Manifest) -> None:
    device = environment.device
    besides_bytes = pictures_bytes(spec, manifest.images, device)
    require_memory(spec, environment, available_bytes(device), besides_bytes=besides_bytes)
