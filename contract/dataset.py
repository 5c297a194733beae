"""A dataset as prepared: what was accepted, what was rejected and why, what is held out."""

from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field

from contract.identifiers import DatasetId
from contract.plugin import Frozen

Fit = Literal["crop", "pad", "stretch"]
"""How a picture is made square: centre crop, padding with the mean colour of its edge, or stretching."""

MAX_NAME_CHARACTERS = 200
"""Of a dataset's name."""
HELD_OUT_ONE_IN = 20
"""One image in this many, chosen by content hash, is held out of training for evaluations."""


TOLD_CHARACTERS = 200
"""What is told of a rejected file is shortened to this; in an archive a name can have 65,535 bytes."""


def _shortened(text: str) -> str:
    half = TOLD_CHARACTERS // 2
    return text if len(text) <= TOLD_CHARACTERS else f"{text[: half - 1]}…{text[-half:]}"


Shortened = Annotated[str, AfterValidator(_shortened)]
"""Text that keeps its beginning and its end; also as read from the manifests of older versions."""


class RejectedFile(Frozen):
    """A file of the upload that is not a usable picture."""

    name: Shortened
    reason: Shortened


class DatasetSpec(Frozen):
    """What the client sent with the upload: the spec of the record that a preparer claims."""

    name: str | None = Field(None, max_length=MAX_NAME_CHARACTERS)
    bytes: int = Field(ge=1, description="Size of the uploaded archive.")


class Manifest(Frozen):
    """What a prepared dataset contains. Written once, by the preparer."""

    format_version: Literal[1] = 1
    id: DatasetId
    images: int = Field(ge=1, description="Usable pictures, held-out ones included.")
    held_out_images: int = Field(
        ge=0, description="Pictures for judging; from 16 on they are kept out of training."
    )
    rejected: tuple[RejectedFile, ...] = Field((), description="At most the first 1,000.")
    rejected_images: int = Field(0, ge=0)
    duplicate_images: int = Field(
        0, ge=0, description="Files whose content occurred earlier in the upload; kept once."
    )
    channels: Literal[1, 3] = Field(description="1 when every picture is grey, else 3.")
    median_width: int
    median_height: int
    content_hash: str = Field(description="sha256 over the pictures' own hashes, in the order of the arrays.")
    files: tuple[str, ...] = Field(
        (), description="Names of the usable pictures, in the order of the arrays."
    )
    hashes: tuple[str, ...] = Field((), description="sha256 of each usable picture's bytes.")

    @property
    def held_out(self) -> frozenset[int]:
        """The places in the arrays of the pictures that are held out of training.

        All that `is_held_out`, and if `held_out_images` are more, those with the lowest hashes of the others.
        """
        chosen = [place for place, content_hash in enumerate(self.hashes) if is_held_out(content_hash)]
        if missing := max(self.held_out_images - len(chosen), 0):
            others = set(range(len(self.hashes))).difference(chosen)
            chosen += sorted(others, key=self.hashes.__getitem__)[:missing]
        return frozenset(chosen)


class ArrayForm(NamedTuple):
    """How a run wants its pictures: the side, the channels, and how they are made square."""

    resolution: int
    channels: int
    fit: Fit

    @property
    def picture_bytes(self) -> int:
        """The size of one picture, (C, R, R)."""
        return self.channels * self.resolution**2


def is_held_out(content_hash: str) -> bool:
    """Whether a picture with this sha256 (hex) is of the twentieth that is held out whatever the dataset.

    Of hundreds of pictures, others are held out besides, and of fewer none (`models/datasets/split.py`).
    """
    return int(content_hash[:12], 16) % HELD_OUT_ONE_IN == 0


_NO_FILES = ("", ".", "..")


def is_wanted(name: str) -> bool:
    """Whether this name in an archive is a user's file: not a directory, and not hidden.

    No file is ever written under such a name, so `..` is harmless. A name ends at a NUL, as in `zipfile`.
    Some programs on Windows separate folders by a backslash.
    """
    *folders, last = name.partition("\0")[0].replace("\\", "/").split("/")
    return last not in _NO_FILES and not any(map(_is_hidden, (*folders, last)))


def _is_hidden(part: str) -> bool:
    """Whether a part of a path is hidden: a dotfile, or what macOS adds to archives."""
    return part == "__MACOSX" or (part.startswith(".") and part not in _NO_FILES)
