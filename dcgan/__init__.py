"""`from dcgan import Client`, and the command `dcgan`. Of our packages, only `contract` is imported."""

from dcgan.client import Client
from dcgan.errors import DcganError
from dcgan.events import Event
from dcgan.replies import Dataset, DryRun, Job, Model

__all__ = ["Client", "Dataset", "DcganError", "DryRun", "Event", "Job", "Model"]
