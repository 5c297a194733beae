"""The devices that a worker's settings name. Imported only by processes that have torch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from contract.devices import DeviceChoice, PrecisionChoice
from models.environment import NumericEnvironment, detect
from worker import link
from worker.child import Chore, UnfitError
from worker.orders import DeviceOrder


def find_devices(order_json: str, chore: Chore) -> None:
    """The work of a child that tells a trainer whether the machine has what its settings name."""
    order = DeviceOrder.model_validate_json(order_json)
    for rank in range(order.devices):
        detected(order.device, 1, "auto", link.Place(rank=rank, ranks=order.devices))
    chore.tell(link.Finished())


def detected(
    device: DeviceChoice, threads: int, precision: PrecisionChoice, place: link.Place
) -> NumericEnvironment:
    """Choose this process's device by its place, and detect the numeric environment there.

    Raises:
        UnfitError: the machine has fewer devices than the settings name, or one that does not work.
    """
    with naming_the_setting(device):
        if device != "cpu" and torch.cuda.is_available():
            found = torch.cuda.device_count()
            if place.ranks > found:
                raise UnfitError(f"DCGAN_DEVICES: {place.ranks} GPUs are needed, and torch finds {found}")
            torch.cuda.set_device(place.rank)
        environment = detect(device, threads, precision)
        torch.ones(1, device=environment.device).sum().item()  # a broken GPU still tells its properties
        return environment


@contextmanager
def naming_the_setting(device: DeviceChoice) -> Iterator[None]:
    """Context manager around the detection of a device: torch's errors become an UnfitError of one line."""
    try:
        yield
    except RuntimeError as error:
        raise UnfitError(f"DCGAN_DEVICE={device}: {_first_line(error)}") from error


def _first_line(error: RuntimeError) -> str:
    return str(error).partition("\n")[0]
