import pytest
import torch

from models.environment import NumericEnvironment, detect


def test_explicit_precision_is_used() -> None:
    assert detect("cpu", 2, "float32").precision == "float32"
    assert detect("cpu", 2, "bfloat16").precision == "bfloat16"


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [({}, "float32"), ({"avx512_bf16": True}, "bfloat16"), ({"amx_bf16": True}, "bfloat16")],
)
def test_bfloat16_is_chosen_if_the_processor_supports_it(
    capabilities: dict[str, bool], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert detect("cpu", 2, "auto").precision == precision


def test_environment_survives_a_json_round_trip() -> None:
    environment = detect("cpu", 2, "auto")
    assert NumericEnvironment.model_validate_json(environment.model_dump_json()) == environment


@pytest.mark.parametrize(
    "field",
    NumericEnvironment.model_fields,
)
def test_fingerprint_depends_on_every_field(field: str) -> None:
    environment = detect("cpu", 2, "float32")
    assert environment.model_copy(update={field: "other"}).fingerprint != environment.fingerprint


def test_applying_sets_threads_and_determinism(environment: NumericEnvironment) -> None:
    before = torch.get_num_threads()
    torch.use_deterministic_algorithms(mode=False)
    try:
        detect("cpu", before + 2, "auto").apply()
        assert torch.get_num_threads() == before + 2
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        environment.apply()
