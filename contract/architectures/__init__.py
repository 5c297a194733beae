"""The architectures a job can choose: one file each, joined in this union on `kind`."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from contract.architectures.dcgan import Dcgan
from contract.architectures.dcgan_fc import DcganFc
from contract.architectures.pair import Norm, Pair
from contract.architectures.resnet import Resnet
from contract.plugin import KindShorthand


def _named(value: Any) -> Any:
    return {"kind": "dcgan", **value} if isinstance(value, dict) else value


# A client may omit the kind, as when there was only one.
Architecture = Annotated[
    Dcgan | DcganFc | Resnet, Field(discriminator="kind"), BeforeValidator(_named), KindShorthand
]

__all__ = ["Architecture", "Dcgan", "DcganFc", "Norm", "Pair", "Resnet"]
