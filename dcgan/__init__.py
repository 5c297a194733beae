"""The public face: `from dcgan import Client`, and the command `dcgan`. It knows the contract alone."""

from dcgan.client import Client
from dcgan.errors import DcganError
from dcgan.events import Event
from dcgan.replies import Alias, Dataset, DryRun, Job

__all__ = ["Alias", "Client", "Dataset", "DcganError", "DryRun", "Event", "Job"]
