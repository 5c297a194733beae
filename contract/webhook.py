"""Whom to tell how a job ended, and what became of telling (https://www.standardwebhooks.com)."""

import base64
import binascii
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, HttpUrl, PlainSerializer, SecretStr, field_validator

from contract.kept import Kept
from contract.plugin import Frozen

TOLD_FOR_SECONDS = 86_400
"""A job that ended longer ago is news to nobody: no further attempts."""

SECRET_PREFIX = "whsec_"  # noqa: S105 — how one begins
_KEY_BYTES = range(24, 65)
_HOW_TO_MAKE_ONE = (
    "use whsec_ followed by the base64 of 24 to 64 random bytes, such as the output of: "
    "echo whsec_$(openssl rand -base64 32)"
)

# Hidden wherever it is shown as text; itself in JSON, since that is how it is kept on the volume.
Secret = Annotated[
    SecretStr, PlainSerializer(lambda secret: secret.get_secret_value(), return_type=str, when_used="json")
]


class Webhook(Frozen):
    """An address that is notified, and the key by which it recognises this service."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: HttpUrl = Field(
        repr=False,
        description="http or https; of its answer only the status is read.",
        examples=["https://example.com/hooks/dcgan"],
    )
    secret: Secret = Field(
        description="`whsec_` followed by the base64 of 24 to 64 random bytes. Never shown again."
    )

    @field_validator("url")
    @classmethod
    def _names_nobody(cls, url: HttpUrl) -> HttpUrl:
        if url.username is not None or url.password is not None:
            raise ValueError(
                "the URL must not contain a user name or password; remove everything before the @"
            )
        return url

    @field_validator("secret")
    @classmethod
    def _is_a_key(cls, secret: SecretStr) -> SecretStr:
        try:
            length = len(_key(secret))
        except ValueError:
            length = 0
        if length not in _KEY_BYTES:
            raise ValueError(f"this is not a webhook secret; {_HOW_TO_MAKE_ONE}")
        return secret

    @property
    def key(self) -> bytes:
        """What messages are signed with."""
        return _key(self.secret)

    @property
    def origin(self) -> str:
        """Who is told. That alone is shown to people: the rest of an address often is a secret itself."""
        parts = urlsplit(str(self.url))
        return f"{parts.scheme}://{parts.netloc}"


def _key(secret: SecretStr) -> bytes:
    text = secret.get_secret_value()
    if not text.startswith(SECRET_PREFIX):
        raise ValueError
    encoded = text.removeprefix(SECRET_PREFIX)
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError from error


class Endpoint(StrEnum):
    """Of whom an address is: the job's own, or the deployment's, which hears of every job."""

    OWN = "own"
    GLOBAL = "global"


class Outcome(StrEnum):
    """How telling ends."""

    DELIVERED = "delivered"
    GONE = "gone"  # it answered 410: it wants to hear no more
    GIVEN_UP = "given_up"


class Told(Kept):
    """What became of telling an endpoint; on the volume as `told-{endpoint}.json` once it is over."""

    outcome: Outcome | None = Field(description="None: it will be tried again.")
    problem: str | None = None
    at_ms: int


def read_told(path: Path) -> Told | None:
    """What was noted; a note that is damaged counts as none, for being told twice does no harm."""
    try:
        return Told.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
