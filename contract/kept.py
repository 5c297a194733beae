"""The base of what is read back from Redis and the volume: perhaps by another version than wrote it."""

from pydantic import ConfigDict

from contract.plugin import Frozen


class Kept(Frozen):
    """An immutable value that passes over fields which only a newer version knows.

    A spec is none: what it asks for would come out otherwise.
    """

    model_config = ConfigDict(extra="ignore")
