"""Truncation keeps the middle of any prior."""

import numpy as np
import pytest
from pydantic import TypeAdapter

from contract.priors import Prior as Parameters
from models.priors import PRIORS, Prior, build
from models.priors.truncation import truncated

KINDS = [parameters.model_fields["kind"].default for parameters in PRIORS]  # type: ignore[attr-defined]
CELLS = 2**16
GRID = np.concatenate([[2.0**-53], (np.arange(CELLS) + 0.5) / CELLS, [1 - 2.0**-53]])
SHARES = [0.01, 1 / 3, 0.5, 0.9, 0.999]


def made(given: object) -> Prior:
    return build(TypeAdapter[Parameters](Parameters).validate_python(given))


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", KINDS)
def test_values_lie_between_the_quantiles_of_the_middle(kind: str, share: float) -> None:
    prior = made(kind)
    low, high = prior.quantile(np.array([(1 - share) / 2, (1 + share) / 2]))
    values = truncated(prior, share).quantile(GRID)
    assert low <= values.min() <= values.max() <= high


@pytest.mark.parametrize("kind", KINDS)
def test_share_of_one_truncates_nothing(kind: str) -> None:
    prior = made(kind)
    assert np.array_equal(truncated(prior, 1).quantile(GRID), prior.quantile(GRID))


@pytest.mark.parametrize("kind", KINDS)
def test_truncation_preserves_the_median(kind: str) -> None:
    prior, half = made(kind), np.array([0.5])
    assert truncated(prior, 0.3).quantile(half) == prior.quantile(half)


@pytest.mark.parametrize("kind", KINDS)
def test_truncating_twice_multiplies_the_shares(kind: str) -> None:
    prior = made(kind)
    twice, once = truncated(truncated(prior, 0.5), 0.5), truncated(prior, 0.25)
    assert np.array_equal(twice.quantile(GRID), once.quantile(GRID))


@pytest.mark.parametrize("kind", ["normal", "uniform", "exponential", "truncated_normal"])
def test_smaller_share_of_a_continuous_prior_varies_less(kind: str) -> None:
    deviations = [truncated(made(kind), share).quantile(GRID).std() for share in [*SHARES, 1.0]]
    assert deviations == sorted(deviations)


def test_truncated_normal_prior_is_a_normal_one_truncated() -> None:
    """Cutting at two deviations and truncating to the share between them differ only in scale."""
    cut = made({"kind": "truncated_normal", "bound": 2.0}).quantile(GRID)
    middle = truncated(made("normal"), 0.9544997361036416).quantile(GRID)
    np.testing.assert_allclose(cut / cut[-1], middle / middle[-1], rtol=1e-9, atol=1e-12)
