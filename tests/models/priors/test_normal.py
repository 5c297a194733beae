import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import priors as parameters
from models.priors.normal import Normal

NORMAL = Normal(parameters.Normal())
cells = st.integers(0, 2**52 - 1)


def midpoint(cell: int) -> float:
    return (cell + 0.5) * 2.0**-52


def quantile(u: float) -> float:
    return float(NORMAL.quantile(np.array([u]))[0])


@given(cells)
def test_quantile_agrees_with_the_standard_library(cell: int) -> None:
    u = midpoint(cell)
    assert quantile(u) == pytest.approx(statistics.NormalDist().inv_cdf(u), rel=2e-15, abs=0)


@given(st.integers(1, 52))
def test_quantile_agrees_with_the_standard_library_in_the_tail(halvings: int) -> None:
    u = 2.0**-halvings
    assert quantile(u) == pytest.approx(statistics.NormalDist().inv_cdf(u), rel=2e-15, abs=0)


@given(cells)
def test_quantile_is_exactly_odd_about_one_half(cell: int) -> None:
    assert quantile(midpoint(cell)) == -quantile(1.0 - midpoint(cell))


@given(cells, cells)
def test_quantile_never_decreases(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert quantile(midpoint(low)) <= quantile(midpoint(high))


def test_quantile_is_finite_in_the_first_and_last_cell() -> None:
    assert quantile(midpoint(0)) == -quantile(midpoint(2**52 - 1)) == pytest.approx(-8.2095, abs=1e-4)


def cdf(value: float) -> float:
    return float(NORMAL.cdf(np.array([value]))[0])


@given(cells)
def test_cdf_is_the_inverse_of_the_quantile(cell: int) -> None:
    u = midpoint(cell)
    assert cdf(quantile(u)) == pytest.approx(u, rel=1e-13, abs=0)


@given(st.integers(1, 1020))
def test_cdf_is_the_inverse_of_the_quantile_in_the_tail(halvings: int) -> None:
    """Beyond any latent: near 37, a unit in the last place of a value is about a thousand in its share's."""
    u = 2.0**-halvings
    assert cdf(quantile(u)) == pytest.approx(u, rel=1e-12, abs=0)


@given(st.floats(-37, 37))
def test_cdf_agrees_with_the_complementary_error_function(value: float) -> None:
    truth = math.erfc(-value / math.sqrt(2)) / 2
    assert cdf(value) == pytest.approx(truth, rel=3e-13, abs=0)  # the quotient's rounding, times value²


@given(st.floats(-37, 37))
def test_cdf_of_a_value_and_that_of_its_negative_sum_to_one(value: float) -> None:
    assert cdf(value) + cdf(-value) == pytest.approx(1, abs=3e-16)
