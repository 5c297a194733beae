"""The one Lua script, joined from the files in `lua/`."""

from functools import cache
from importlib import resources

PARTS = (
    "start",
    "timers",
    "events",
    "turns",
    "deliveries",
    "record",
    "submission",
    "owning",
    "reaping",
    "control",
    "reading",
    "rebuilding",
    "pointing",
    "imports",
    "forgetting",
    "workers",
    "run",
)
"""The files in their order: each uses what those before it define."""


@cache
def script() -> str:
    """The text of the script."""
    folder = resources.files("contract").joinpath("lua")
    return "\n".join(folder.joinpath(f"{part}.lua").read_text() for part in PARTS)
