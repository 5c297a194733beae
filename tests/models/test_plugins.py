"""A plug-in is two files of the same name: its parameters in `contract`, its maths in `models`."""

import re
from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from contract.architectures import Architecture, Pair
from contract.evaluation import FeaturesName
from contract.objectives import Objective
from contract.priors import Prior
from contract.terms import Term
from contract.training import JobRequest
from models.features import CHOICES
from models.networks import NETWORKS
from models.objectives import OBJECTIVES
from models.priors import PRIORS
from models.terms import TERMS

FAMILIES = [(Architecture, NETWORKS), (Objective, OBJECTIVES), (Prior, PRIORS), (Term, TERMS)]


def members(annotated: Any) -> set[type]:
    """The classes joined in `Annotated[A | B, …]`."""
    joined = get_args(annotated)[0]
    return set(get_args(joined)) if get_origin(joined) in (Union, UnionType) else {joined}


@pytest.mark.parametrize(("union", "registry"), FAMILIES)
def test_contract_and_maths_know_the_same_plugins(union: Any, registry: Mapping[type, Any]) -> None:
    assert members(union) == set(registry)


@pytest.mark.parametrize(("union", "registry"), FAMILIES)
def test_both_halves_of_a_plugin_are_in_files_of_the_same_name(
    union: Any, registry: Mapping[type, Any]
) -> None:
    for parameters, maths in registry.items():
        assert parameters.__module__.split(".")[-1] == maths.__module__.split(".")[-1]


@pytest.mark.parametrize("parameters", [one for _, registry in FAMILIES for one in registry])
def test_published_description_gives_the_source_and_the_equation(parameters: type) -> None:
    description = parameters.__doc__ or ""
    assert re.search(r"\b(19|20)\d\d\b", description)
    assert re.search(r"L_D = |γ/2 |λ‖θ‖²|Σ_α|Quantile |\(W \* x\)|S\(x\) \+ F\(x\)", description)


@pytest.mark.parametrize("parameters", [JobRequest, *(one for _, registry in FAMILIES for one in registry)])
def test_every_parameter_has_a_published_description(parameters: type[BaseModel]) -> None:
    fields = parameters.model_json_schema()["properties"]
    assert {name for name, field in fields.items() if "description" not in field} <= {"kind"}


@pytest.mark.parametrize("parameters", NETWORKS)
def test_published_description_of_norms_gives_the_source_and_the_equation(parameters: type[Pair]) -> None:
    description = parameters.model_fields["discriminator_norm"].description or ""
    assert "W/σ(W)" in description
    assert "arXiv 1802.05957" in description


def test_contract_and_maths_know_the_same_features() -> None:
    assert set(get_args(FeaturesName)) == set(CHOICES)
