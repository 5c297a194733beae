"""A picture has one spec, one canonical text and one address."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contract.sampling import SampleOptions, SampleSpec, sheet_columns

DIGEST = "sha256:" + "5" * 64
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "columns": st.integers(1, 6),
        "padding": st.integers(0, 2),
        "scale": st.integers(1, 2),
        "resample": st.sampled_from(["nearest", "lanczos"]),
    },
)


def settled(count: int, options: dict[str, Any]) -> SampleSpec:
    asked = SampleOptions.model_validate(options)
    return SampleSpec.model_validate({"digest": DIGEST, "seed": 7, "count": count, **asked.settled(count)})


@given(st.integers(1, 5), OPTIONS)
def test_settled_options_ask_for_the_same_picture(count: int, options: dict[str, Any]) -> None:
    """What is laid out: columns that are there, gaps between tiles that are there, and enlarged pixels."""

    def outcome(asked: SampleOptions) -> tuple[object, ...]:
        columns = min(asked.columns or sheet_columns(count), count)
        enlarged = asked.scale, asked.resample if asked.scale > 1 else None
        return columns, asked.padding if count > 1 else None, enlarged

    spec = settled(count, options)
    assert outcome(spec) == outcome(SampleOptions.model_validate(options))


@given(st.integers(1, 5), OPTIONS, OPTIONS)
def test_equal_specs_alone_have_equal_texts_and_addresses(
    count: int, some: dict[str, Any], other: dict[str, Any]
) -> None:
    one, two = settled(count, some), settled(count, other)
    assert (one == two) == (one.canonical() == two.canonical()) == (one.address() == two.address())


@given(st.integers(1, 5), OPTIONS)
def test_address_leads_back_to_the_spec(count: int, options: dict[str, Any]) -> None:
    spec = settled(count, options)
    parameters = {name: values[0] for name, values in parse_qs(urlsplit(spec.address()).query).items()}
    parameters["digest"] = parameters.pop("model")
    assert SampleSpec.model_validate(parameters) == spec


def test_texts_of_before_there_were_options_stay() -> None:
    assert SampleSpec(digest=DIGEST, seed=7).canonical() == f"{DIGEST}/7+1.png"
    assert SampleSpec(digest=DIGEST, seed=7, count=9).canonical() == f"{DIGEST}/7+9.png"


@pytest.mark.parametrize(
    "options",
    [
        {"count": 4, "columns": 2},
        {"count": 4, "columns": 5},
        {"count": 1, "padding": 1},
        {"count": 4, "resample": "lanczos"},
    ],
)
def test_spec_that_says_the_same_in_other_words_is_none(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="changes nothing"):
        SampleSpec.model_validate({"digest": DIGEST, "seed": 7, **options})
