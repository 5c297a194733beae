"""Webhooks that report how a job ended, and the outcome of reporting (https://www.standardwebhooks.com)."""

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
"""No more attempts are made for a job that ended longer ago."""

SECRET_PREFIX = "whsec_"  # noqa: S105 — how one begins
_KEY_BYTES = range(24, 65)
_HOW_TO_MAKE_ONE = (
    "use whsec_ followed by the base64 of 24 to 64 random bytes, such as the output of: "
    "echo whsec_$(openssl rand -base64 32)"
)

# Hidden when shown as text, but not in JSON, in which it is stored on the volume.
Secret = Annotated[
    SecretStr, PlainSerializer(lambda secret: secret.get_secret_value(), return_type=str, when_used="json")
]


class Webhook(Frozen):
    """An address to notify, and the secret by which it recognises this service."""

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
        """The key with which messages are signed."""
        return _key(self.secret)

    @property
    def origin(self) -> str:
        """The receiver. Only this is shown to people, because the rest of a URL is often secret."""
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
    """Whose address it is: the job's own, or the deployment's, which is notified of every job."""

    OWN = "own"
    GLOBAL = "global"


class DeliveryOutcome(StrEnum):
    """How reporting ends."""

    DELIVERED = "delivered"
    GONE = "gone"  # it answered 410: it wants no more messages
    GIVEN_UP = "given_up"


class Notification(Kept):
    """The outcome of notifying an endpoint; on the volume as `told-{endpoint}.json` once it is final."""

    outcome: DeliveryOutcome | None = Field(description="None: it will be tried again.")
    problem: str | None = None
    at_ms: int


def read_told(path: Path) -> Notification | None:
    """Read a stored outcome. A damaged one counts as none, because notifying twice does no harm."""
    try:
        return Notification.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
