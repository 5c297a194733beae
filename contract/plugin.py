"""The base of every plug-in's parameters: frozen, strict about names, distinguished by `kind`."""

from typing import Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Frozen(BaseModel):
    """An immutable value that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Loss(Frozen):
    """An objective, or a term added to one."""

    JUDGES_IMAGES_ALONE: ClassVar[bool]
    """Whether it is meaningless if batch norm lets every image change the others' scores."""

    def settled(self, resolution: int) -> Self:
        """A copy for images of this side, with no choice left open."""
        del resolution
        return self


def _expand(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


# Lets a client write "dcgan" for {"kind": "dcgan"}, since every parameter of a plug-in has a default.
KindShorthand = BeforeValidator(_expand)
