"""The gateway's settings; the only module of the service that reads the environment (`DCGAN_*`)."""

import os
import re
from ipaddress import IPv6Address
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    HttpUrl,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from contract.configuration import PREFIX, LogLevel, RedisUrl, read_or_exit
from contract.webhook import Webhook

_HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?", re.ASCII | re.IGNORECASE)


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _require_host(name: str) -> str:
    """Require what a Host header contains besides a port and brackets: nothing else would ever match one."""
    if not (_HOST_NAME.fullmatch(name) or _is_ipv6(name)):
        raise ValueError(
            f"{name!r} was given, where a host name or IP address is expected, without scheme, port, "
            "brackets or wildcard"
        )
    return name


def _is_ipv6(name: str) -> bool:
    try:
        IPv6Address(name)
    except ValueError:
        return False
    return True


HostName = Annotated[str, AfterValidator(_require_host)]


class Settings(BaseSettings):
    """Each field is the environment variable `DCGAN_` + its name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,  # compose passes unset variables on as empty strings
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        hide_input_in_errors=True,  # some hold passwords
    )

    data_root: Path = Field(Path("data"), description="The volume that gateway and workers share.")
    redis_url: RedisUrl = Field("redis://127.0.0.1:6379/0", description="Records, queue and doorbell.")
    sampling_redis_url: RedisUrl = Field(
        default_factory=lambda settled: settled["redis_url"],
        description="Sampling requests and replies; may be the same server.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535)
    allowed_hosts: Annotated[tuple[HostName, ...], NoDecode, BeforeValidator(_split)] = Field(
        (), description="Host names besides localhost under which clients may call, comma-separated."
    )
    max_upload_bytes: int = Field(2 * 2**30, ge=1, description="Maximum size of an uploaded archive.")
    sample_timeout_seconds: float = Field(
        30, gt=0, le=3600, description="How long a request waits for a sampler."
    )
    sample_queue_limit: int = Field(
        4096, ge=1, description="Maximum number of images waiting for samplers; fewer if samplers are slow."
    )
    sample_cache_bytes: int = Field(256 * 2**20, ge=0, description="Memory for cached samples.")
    estimate_timeout_seconds: float = Field(
        20, gt=0, le=600, description="How long a dry run waits for a trainer."
    )
    estimate_limit: int = Field(
        2, ge=1, le=64, description="Maximum number of concurrent dry runs; more are refused with 503."
    )
    workshop_timeout_seconds: float = Field(
        120, gt=0, le=600, description="How long an export or import waits for a trainer."
    )
    workshop_limit: int = Field(
        4, ge=1, le=64, description="Maximum number of concurrent exports and imports; more get 503."
    )
    max_import_bytes: int = Field(512 * 2**20, ge=1, description="Maximum size of an imported generator.")
    imports_bytes: int = Field(
        8 * 2**30, ge=0, description="Total size of imported generators; 0 disables importing."
    )
    keep_jobs_days: float | None = Field(
        None, gt=0, le=36_500, description="Jobs that ended longer ago are deleted; default: never."
    )
    heartbeat_seconds: float = Field(15, gt=0, description="Maximum silence on an event stream.")
    webhook_url: HttpUrl | None = Field(None, description="Receives an event when any job ends.")
    webhook_secret: SecretStr | None = Field(None, description="Key that signs its events.")
    webhook_allow_private: bool = Field(
        default=False, description="Whether webhooks may go to non-public addresses."
    )
    log_level: LogLevel = Field("INFO", description="Minimum log level, by its Python name.")

    @model_validator(mode="after")
    def _signs_what_it_tells(self) -> Self:
        if (self.webhook_url is None) is not (self.webhook_secret is None):
            raise ValueError(
                "DCGAN_WEBHOOK_URL and DCGAN_WEBHOOK_SECRET are set together, or neither of them"
            )
        try:
            assert self.webhook is None or self.webhook.key
        except ValidationError as error:
            wrong = error.errors()[0]
            name = f"DCGAN_WEBHOOK_{wrong['loc'][0]}".upper()
            raise ValueError(f"{name}: {wrong['msg']}") from None
        return self

    @property
    def webhook(self) -> Webhook | None:
        """The deployment's own webhook, if configured."""
        if self.webhook_url is None or self.webhook_secret is None:
            return None
        return Webhook(url=self.webhook_url, secret=self.webhook_secret)


def read_settings(**given: Any) -> Settings:
    """Read this process's settings, with `given` taking precedence; if they are invalid, explain and exit."""
    return read_or_exit(lambda: Settings(**given), os.environ)


def inherited_environment() -> dict[str, str]:
    """The environment for the processes of the embedded stack, without the launcher's own additions."""
    return dict(os.environ)
