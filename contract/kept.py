"""The base of values read back from Redis or the volume, perhaps by another version than wrote them."""

from pydantic import ConfigDict

from contract.plugin import Frozen


class Kept(Frozen):
    """An immutable value that ignores fields that only a newer version knows.

    Specs do not use it: ignoring a field would change the result.
    """

    model_config = ConfigDict(extra="ignore")
