"""A picture has one spec, one canonical text and one address."""

import base64
import math
import struct
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contract.latents import FURTHEST, pack, unpack
from contract.recipe import read_recipe, recipe
from contract.sampling import SampleOptions, SampleSpec, sheet_columns

DIGEST = "sha256:" + "5" * 64
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "columns": st.integers(1, 6),
        "padding": st.integers(0, 2),
        "scale": st.integers(1, 2),
        "resample": st.sampled_from(["nearest", "lanczos"]),
        "truncation": st.sampled_from([0.25, 0.5, 1]),
    },
)


SEEDS = st.lists(st.integers(0, 4), min_size=1, max_size=4)
NUMBERS = st.floats(-FURTHEST, FURTHEST, width=32)
ROWS = st.integers(1, 3).flatmap(
    lambda size: st.lists(st.lists(NUMBERS, min_size=size, max_size=size), min_size=1, max_size=4)
)


def settled(count: int, options: dict[str, Any]) -> SampleSpec:
    asked = SampleOptions.model_validate(options)
    return SampleSpec.of_seeds(DIGEST, "png", range(7, 7 + count), asked)


@given(st.integers(1, 5), OPTIONS)
def test_settled_options_describe_the_same_picture(count: int, options: dict[str, Any]) -> None:
    """Only what is visible counts: columns in use, gaps between tiles, and enlarged pixels."""

    def outcome(asked: SampleOptions) -> tuple[object, ...]:
        columns = min(asked.columns or sheet_columns(count), count)
        enlarged = asked.scale, asked.resample if asked.scale > 1 else None
        return columns, asked.padding if count > 1 else None, enlarged, asked.truncation

    spec = settled(count, options)
    assert outcome(spec) == outcome(SampleOptions.model_validate(options))


@given(st.integers(1, 5), OPTIONS, OPTIONS)
def test_only_equal_specs_have_equal_texts_and_addresses(
    count: int, some: dict[str, Any], other: dict[str, Any]
) -> None:
    one, two = settled(count, some), settled(count, other)
    assert (one == two) == (one.canonical() == two.canonical()) == (one.address() == two.address())


@given(st.integers(1, 5), OPTIONS)
def test_address_parses_back_to_the_spec(count: int, options: dict[str, Any]) -> None:
    spec = settled(count, options)
    address = spec.address()
    assert address
    parameters = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    parameters["digest"] = parameters.pop("model")
    assert SampleSpec.model_validate(parameters) == spec


def test_canonical_text_without_options_is_unchanged() -> None:
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
def test_option_that_changes_nothing_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="changes nothing"):
        SampleSpec.model_validate({"digest": DIGEST, "seed": 7, **options})


@given(SEEDS, SEEDS)
def test_seeds_in_another_order_are_another_picture(some: list[int], other: list[int]) -> None:
    one, two = (SampleSpec.of_seeds(DIGEST, "png", seeds, SampleOptions()) for seeds in (some, other))
    assert list(one.seeds) == some
    assert (some == other) == (one == two) == (one.canonical() == two.canonical())


def test_consecutive_listed_seeds_become_a_range_which_has_an_address() -> None:
    assert SampleSpec.of_seeds(DIGEST, "png", [7, 8, 9], SampleOptions()) == SampleSpec(
        digest=DIGEST, seed=7, count=3
    )
    assert SampleSpec.of_seeds(DIGEST, "png", [9, 8, 7], SampleOptions()).address() is None


ENDS = st.tuples(st.integers(0, 3), st.integers(0, 3)).filter(lambda ends: ends[0] != ends[1])
POINTS = st.sampled_from(
    [{"count": 2}, {"count": 4}, *({"count": 1, "at": at} for at in (0.0, 0.25, 0.5, 1.0))]
)


@given(ENDS, POINTS, ENDS, POINTS, OPTIONS)
def test_only_equal_paths_have_equal_texts_and_addresses(
    some: tuple[int, int],
    few: dict[str, Any],
    other: tuple[int, int],
    many: dict[str, Any],
    options: dict[str, Any],
) -> None:
    asked = SampleOptions.model_validate(options)
    one = SampleSpec.of_path(DIGEST, "png", some, asked, **few)
    two = SampleSpec.of_path(DIGEST, "png", other, asked, **many)
    assert (one == two) == (one.canonical() == two.canonical()) == (one.address() == two.address())
    assert read_recipe(recipe(one)) == one
    address = one.address()
    assert address
    parameters = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    parameters["digest"] = parameters.pop("model")
    assert SampleSpec.model_validate(parameters) == one


def test_ends_of_a_path_are_seeds_and_its_points_have_addresses() -> None:
    path = SampleSpec.of_path(DIGEST, "zip", (7, 42), SampleOptions(), count=3)
    assert [tile.address() for tile in path.tiles()] == [
        f"/samples?model={DIGEST}&{points}&format=png"
        for points in ("seed=7", "seed=7&to=42&at=0.5", "seed=42")
    ]
    assert path.canonical() == f"{DIGEST}/7-to-42+3.zip"
    assert path.seeds == ()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"to": 7, "count": 2}, "two different ends"),
        ({"to": 8}, "either a count"),
        ({"to": 8, "count": 2, "at": 0.5}, "either a count"),
        ({"at": 0.5}, "needs to"),
        ({"to": 8, "at": 0.0}, "greater than 0"),
        ({"to": 8, "count": 2, "seed": 0, "listed": (1, 2)}, "exclude each other"),
    ],
)
def test_path_that_is_none_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        SampleSpec.model_validate({"digest": DIGEST, "seed": 7, **wrong})


@given(ROWS, ROWS)
def test_latents_round_trip(some: list[list[float]], other: list[list[float]]) -> None:
    one, two = (SampleSpec.of_latents(DIGEST, "png", rows, SampleOptions()) for rows in (some, other))
    assert one.body()["latents"] == some
    assert (some == other) == (one.canonical() == two.canonical())


def test_latents_are_rounded_to_float32() -> None:
    assert unpack(pack([[0.1, 1 / 3]]), 1) == [[0.10000000149011612, 0.3333333432674408]]


@pytest.mark.parametrize("number", [-0.0, -1e-50, 1e-50, -math.ulp(0)])
def test_latent_that_rounds_to_zero_equals_zero(number: float) -> None:
    assert pack([[number]]) == pack([[0]])


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def test_packed_numbers_are_float32_in_order() -> None:
    assert pack([[0.5, -1], [100, 0.1]]) == packed(0.5, -1, 100, 0.1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "????????????",
        "AAAAAAAA",
        packed(math.nan, 0),
        packed(0, math.inf),
        packed(-100.001, 0),
        packed(0, 0, 0),
        packed(*[0] * 65_538),
    ],
)
def test_latents_that_are_not_two_rows_of_bounded_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        SampleSpec(digest=DIGEST, count=2, latents=text)


@given(ROWS, SEEDS)
def test_tiles_are_the_specs_of_the_single_pictures(rows: list[list[float]], seeds: list[int]) -> None:
    asked = SampleOptions(columns=1, padding=2, scale=3)
    alone = SampleOptions(scale=3)
    assert SampleSpec.of_seeds(DIGEST, "zip", seeds, asked).tiles() == [
        SampleSpec.of_seeds(DIGEST, "png", [seed], alone) for seed in seeds
    ]
    assert SampleSpec.of_latents(DIGEST, "zip", rows, asked).tiles() == [
        SampleSpec.of_latents(DIGEST, "png", [row], alone) for row in rows
    ]


@given(ROWS, SEEDS, OPTIONS)
def test_recipe_parses_back_to_the_spec(
    rows: list[list[float]], seeds: list[int], options: dict[str, Any]
) -> None:
    asked = SampleOptions.model_validate(options)
    drawn = SampleSpec.of_seeds(DIGEST, "png", seeds, asked)
    given = SampleSpec.of_latents(DIGEST, "png", rows, asked.model_copy(update={"truncation": 1.0}))
    assert [read_recipe(recipe(spec)) for spec in (drawn, given)] == [drawn, given]


@pytest.mark.parametrize(
    "points",
    [
        {"listed": [1, 5], "latents": pack([[0.5], [1]]), "count": 2},
        {"listed": [1, 5], "count": 3},
        {"listed": [1, 5], "seed": 1, "count": 2},
        {"latents": pack([[0.5]]), "seed": 1},
        {"latents": pack([[0.5]]), "truncation": 0.5},
    ],
)
def test_contradictory_spec_is_refused(points: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SampleSpec.model_validate({"digest": DIGEST, **points})


@pytest.mark.parametrize("listed", [[""] * 1000, list(range(1025))])
def test_error_in_listed_seeds_is_reported_once(listed: list[Any]) -> None:
    with pytest.raises(ValidationError) as error:
        SampleSpec.model_validate({"digest": DIGEST, "count": 1000, "listed": listed})
    (wrong,) = error.value.errors()
    assert wrong["loc"][0] == "listed"
