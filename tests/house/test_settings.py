"""No process accepts a number as a setting that breaks it later."""

from typing import get_args

import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from service.settings import Settings as GatewaySettings
from worker.settings import Settings as WorkerSettings

SETTINGS = (GatewaySettings, WorkerSettings)


def _is_float(field: FieldInfo) -> bool:
    return float in (field.annotation, *get_args(field.annotation))


@pytest.mark.parametrize("value", ["inf", "nan"])
@pytest.mark.parametrize(
    ("settings", "name"),
    [(kind, name) for kind in SETTINGS for name, field in kind.model_fields.items() if _is_float(field)],
)
def test_numbers_are_finite(
    settings: type[GatewaySettings | WorkerSettings],
    name: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(f"DCGAN_{name.upper()}", value)
    with pytest.raises(ValidationError, match=f"{name}\n.*finite number"):
        settings()


@pytest.mark.parametrize(("name", "most"), [("sample_timeout_seconds", 3600), ("keep_jobs_days", 36_500)])
def test_times_whose_end_must_be_a_date_are_bounded(name: str, most: int) -> None:
    GatewaySettings.model_validate({name: most})
    with pytest.raises(ValidationError, match=f"less than or equal to {most}"):
        GatewaySettings.model_validate({name: most + 1})
