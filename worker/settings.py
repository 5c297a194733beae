"""A worker's settings. The only module of this package that reads the environment."""

import os
from pathlib import Path
from typing import Self

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from contract.configuration import PREFIX, LogLevel, RedisUrl, read_or_exit
from contract.devices import DeviceChoice
from contract.training import MOST_DEVICES


class Settings(BaseSettings):
    """Read from `DCGAN_*`; the defaults suit one machine."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,  # compose passes unset variables as empty strings
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,  # some hold passwords
    )

    data_root: Path = Field(Path("data"), description="The volume: datasets, jobs, aliases.")
    redis_url: RedisUrl = Field(
        "redis://127.0.0.1:6379/0", description="Job records and the broker; should be persistent."
    )
    sampling_redis_url: RedisUrl | None = Field(
        None, description="Sampling traffic; default: the same server."
    )
    device: DeviceChoice = Field("auto", description="`auto`: a GPU if there is one.")
    threads: int = Field(
        0, ge=0, le=1024, description="CPU threads; 0: one per available core to train, one to sample."
    )
    devices: int = Field(
        1, ge=1, le=MOST_DEVICES, description="Maximum number of GPUs (on a CPU: processes) per job."
    )
    lease_seconds: float = Field(
        10, gt=0, le=3600, description="A silent worker loses its job after this long."
    )
    max_deaths: int = Field(3, ge=1, description="Deaths without progress after which a job fails as poison.")
    snapshot_seconds: float = Field(
        20, gt=0, description="Interval of snapshots: the most work a crash can cost."
    )
    progress_deadline_seconds: float = Field(
        300, gt=0, description="A child silent for longer is considered hung."
    )
    stop_grace_seconds: float = Field(
        8, gt=0, description="How long a job may take to save when asked to stop."
    )
    batch_limit: int = Field(
        64, ge=1, le=4096, description="Maximum number of sampling requests taken at once."
    )
    generators_bytes: int = Field(
        2 * 2**30, ge=1, description="Memory for loaded generators; the least recently used are evicted."
    )
    heartbeat_file: Path | None = Field(
        None, description="Touched while the worker is healthy; for health checks."
    )
    log_level: LogLevel = Field("INFO", description="Minimum log level, by its Python name.")

    def with_absolute_paths(self) -> Self:
        """These settings for a process that leaves the directory in which it was started."""
        file = self.heartbeat_file
        absolute = {"data_root": self.data_root.absolute(), "heartbeat_file": file and file.absolute()}
        return self.model_copy(update=absolute)

    @property
    def heartbeat_seconds(self) -> float:
        """Five beats per lease: two may be lost without harm."""
        return self.lease_seconds / 5

    @property
    def sampling_url(self) -> str:
        return self.sampling_redis_url or self.redis_url


def read_settings() -> Settings:
    """Read the settings of this process. If they are invalid, it says why and exits."""
    return read_or_exit(Settings, os.environ)


def let_cuda_be_deterministic() -> None:
    """Call before importing torch: cuBLAS guarantees equal results only with a workspace of fixed size."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
