"""The public face: `from dcgan import Client`, and the command `dcgan`. It knows the contract alone."""

from dcgan.client import Client
from dcgan.errors import DcganError
from dcgan.events import Event
from dcgan.replies import Dataset, DryRun, Job, Model

__all__ = ["Client", "Dataset", "DcganError", "DryRun", "Event", "Job", "Model"]
