"""The smallest possible generator, untrained, to check that an idle process can render."""

from contract.architectures import Dcgan
from contract.checkpoint import CheckpointHeader
from contract.training import TrainingSpec
from models import networks
from models.environment import NumericEnvironment
from models.sampler import Sampler

_SPEC = TrainingSpec(
    dataset="ds_" + "0" * 16,
    preset="fast",
    name=None,
    architecture=Dcgan(latent_size=8, generator_width=4, discriminator_width=4),
    resolution=32,
    channels=1,
    checkpoint_every_images=1,
    preview_every_images=1,
)


def canary(environment: NumericEnvironment) -> Sampler:
    """A sampler of the canary generator; takes some hundredths of a second and a few kilobytes."""
    generator = networks.build(_SPEC.architecture, _SPEC.resolution, _SPEC.channels).generator
    generator.initialise(0)
    return Sampler(generator, CheckpointHeader(job="job_" + "0" * 16, spec=_SPEC, images_seen=0), environment)
