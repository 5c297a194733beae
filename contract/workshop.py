"""Generators as files."""

from typing import Literal

ExportFormat = Literal["safetensors"]

SUFFIXES: dict[ExportFormat, str] = {"safetensors": "safetensors"}
