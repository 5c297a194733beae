"""A workshop child's work on one generator."""

import hashlib
from pathlib import Path

from contract.durable import replace_durably
from contract.errors import ErrorCode, ServiceError
from contract.volume import Volume
from contract.workshop import checksum, export, remove_program
from models import exports
from models.inspection import inspect
from worker import link
from worker.child import Chore
from worker.leftovers import drop_abandoned
from worker.low_priority import die_first, leave_the_cores
from worker.orders import WorkshopOrder


def work_on_generator(order_json: str, chore: Chore) -> None:
    """Inspect or export a generator. An export appears whole, once its images match the served ones."""
    order = WorkshopOrder.model_validate_json(order_json)
    die_first()
    leave_the_cores()
    ask, volume = order.ask, Volume(order.data_root)
    path = volume.checkpoint(ask.place.job, ask.place.file)
    if ask.task == "inspect":
        inspect(path, ask.digest)
    else:
        content = exports.make(ask.task, path, ask.digest)
        _keep(volume, export(volume, ask.place, ask.digest, ask.task), content, path)
    chore.tell(link.Finished())


def _keep(volume: Volume, path: Path, content: bytes, generator: Path) -> None:
    """Write a program and its checksum, unless the generator is deleted before or while this is done."""
    try:
        path.parent.mkdir(exist_ok=True)
        drop_abandoned(path.parent)
        replace_durably(checksum(path), f"sha256:{hashlib.sha256(content).hexdigest()}".encode())
        replace_durably(path, content)
        generator.stat()
    except FileNotFoundError:
        volume.require()
        remove_program(path)
        detail = f"The generator sha256:{path.stem} was deleted while a program was made of it."
        raise ServiceError(ErrorCode.MODEL_NOT_FOUND, detail) from None
