"""Every prior is standardised, monotone, and finite at both ends."""

import math

import numpy as np
import pytest
from pydantic import TypeAdapter

from contract.priors import Prior as Parameters
from models.priors import PRIORS, Prior, build

KINDS = [parameters.model_fields["kind"].default for parameters in PRIORS]  # type: ignore[attr-defined]
ENDS = np.array([2.0**-53, 1 - 2.0**-53])
CELLS = 2**20
GRID = (np.arange(CELLS) + 0.5) / CELLS


def made(given: object) -> Prior:
    return build(TypeAdapter[Parameters](Parameters).validate_python(given))


@pytest.mark.parametrize("kind", KINDS)
def test_prior_has_zero_mean_and_unit_variance(kind: str) -> None:
    values = made(kind).quantile(GRID)
    assert values.mean() == pytest.approx(0, abs=1e-4)
    assert values.var() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_quantile_never_decreases(kind: str) -> None:
    assert (np.diff(made(kind).quantile(GRID)) >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_quantile_is_finite_at_both_ends(kind: str) -> None:
    assert np.isfinite(made(kind).quantile(ENDS)).all()


def test_uniform_ends_at_the_root_of_three() -> None:
    np.testing.assert_allclose(made("uniform").quantile(ENDS), [-(3**0.5), 3**0.5])


def test_exponential_median_is_the_logarithm_of_two() -> None:
    assert made("exponential").quantile(np.array([0.5]))[0] == pytest.approx(np.log(2) - 1)


def test_bernoulli_takes_its_higher_value_with_its_probability() -> None:
    values = made({"kind": "bernoulli", "probability": 0.25}).quantile(GRID)
    assert sorted(set(values)) == pytest.approx([-(3**-0.5), 3**0.5])
    assert (values > 0).mean() == 0.25


def test_poisson_counts_have_their_probabilities() -> None:
    counts = made({"kind": "poisson", "rate": 4}).quantile(GRID) * 2 + 4
    shares = [np.exp(-4) * 4.0**k / math.factorial(k) for k in range(6)]
    assert [(counts == k).mean() for k in range(6)] == pytest.approx(shares, abs=1e-5)


@pytest.mark.parametrize("rate", [0.1, 100])
def test_poisson_of_any_rate_is_standardised(rate: float) -> None:
    values = made({"kind": "poisson", "rate": rate}).quantile(GRID)
    assert (values.mean(), values.var()) == pytest.approx((0, 1), abs=1e-3)


@pytest.mark.parametrize("bound", [0.5, 2.0, 5.0])
def test_truncated_normal_of_any_bound_is_standardised_and_ends_there(bound: float) -> None:
    prior = made({"kind": "truncated_normal", "bound": bound})
    values, ends = prior.quantile(GRID), prior.quantile(ENDS)
    assert (values.mean(), values.var()) == pytest.approx((0, 1), abs=1e-4)
    deviation = prior._deviation  # type: ignore[attr-defined]
    assert ends * deviation == pytest.approx([-bound, bound], abs=1e-6)
