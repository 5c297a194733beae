"""A preparer child's work: decode an uploaded archive, once, into a manifest and arrays."""

import time

from contract.job import Progress
from contract.volume import Volume
from models.datasets.archive import prepare
from worker import link
from worker.child import Chore
from worker.orders import PreparingOrder
from worker.room import room_of

REPORT_SECONDS = 0.5


def prepare_dataset(order_json: str, chore: Chore) -> None:
    """Decode a dataset. Idempotent: whatever a dead preparer leaves, the next one overwrites or removes."""
    order = PreparingOrder.model_validate_json(order_json)
    volume = Volume(order.data_root)
    told_at = 0.0

    def report(done: int, total: int) -> None:
        nonlocal told_at
        chore.heed_stop()
        if time.monotonic() - told_at >= REPORT_SECONDS or done == total:
            told_at = time.monotonic()
            chore.tell(link.Advanced(progress=Progress(done=done, total=total)))

    room, original = room_of(chore, volume), volume.original(order.dataset)
    manifest = prepare(original, order.dataset, volume, report, room.insist, room.read)
    summary = manifest.model_dump(include={"images", "held_out_images", "rejected_images", "channels"})
    chore.tell(link.Finished(result=summary))
