"""The work of a child that does not lead: its part of every training step, beside the leader.

Only the leader writes, and reports anything but a wait for the volume, and only it evaluates, applies the
guards and saves snapshots. After each evaluation it sends the state, rolled back or not, and says how far to
train next.
"""

from contract.volume import Volume
from models import trainer
from models.allocator import keep_freed_memory
from models.batches import Batches
from models.datasets.split import training_indices
from models.environment import NumericEnvironment
from models.ranks import Alone, Group
from models.state import TrainingState
from worker.child import Chore
from worker.devices import detected
from worker.link import Place
from worker.orders import TrainingOrder
from worker.pictures import manifest_of, pictures_of
from worker.room import room_of


def follow(order: TrainingOrder, chore: Chore) -> None:
    """Compute until the run is over, or until the leader or its supervisor ends."""
    environment = settle(order, chore.place)
    group = join(environment, chore.place)  # once the leader has found everything that a run needs
    assert isinstance(group, Group)
    volume, spec = Volume(order.data_root), order.spec
    room = room_of(chore, volume)
    manifest = manifest_of(spec, volume, room)
    pictures = pictures_of(spec, manifest, volume, room)
    keep_freed_memory()  # not before: memory used for decoding would be kept for the whole run
    batches = Batches.of(spec, pictures, training_indices(manifest), environment.device)
    state = TrainingState.blank(spec, environment)  # filled in by the leader
    meet_at = group.follow(state)
    for progress in trainer.train(state, batches, group):
        if meet_at <= progress.images_seen < spec.images:
            meet_at = group.follow(state)


def settle(order: TrainingOrder, place: Place) -> NumericEnvironment:
    """Set this process up for its device.

    Raises:
        UnfitError: the device is not there, or does not work.
    """
    environment = detected(order.device, order.threads, order.spec.precision, place)
    environment.apply()
    return environment


def join(environment: NumericEnvironment, place: Place) -> Alone | Group:
    """Join the ranks of this run. Waits until all have joined."""
    if place.meeting_point is None:
        return Alone()
    return Group(place.rank, place.ranks, place.meeting_point, environment.device)
