"""The latent distributions a job can choose: one file each, joined in this union on `kind`.

`HAS_A_MIDDLE` is false if there are no values between the outer ones, so that truncation is meaningless.
"""

from typing import Annotated

from pydantic import Field

from contract.plugin import KindShorthand
from contract.priors.bernoulli import Bernoulli
from contract.priors.exponential import Exponential
from contract.priors.normal import Normal
from contract.priors.poisson import Poisson
from contract.priors.truncated_normal import TruncatedNormal
from contract.priors.uniform import Uniform

Prior = Annotated[
    Normal | Uniform | Bernoulli | Exponential | Poisson | TruncatedNormal,
    Field(discriminator="kind"),
    KindShorthand,
]

__all__ = ["Bernoulli", "Exponential", "Normal", "Poisson", "Prior", "TruncatedNormal", "Uniform"]
