"""The base of every plug-in's parameters: frozen, strict about names, distinguished by `kind`."""

from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Frozen(BaseModel):
    """An immutable value that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _expand(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


# Lets a client write "dcgan" for {"kind": "dcgan"}, since every parameter of a plug-in has a default.
KindShorthand = BeforeValidator(_expand)
