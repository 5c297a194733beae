"""Logarithm and exponential are within one unit in the last place of 40-digit decimal arithmetic."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.priors.logarithm import exp, log


def units_off(got: float, truth: Decimal) -> Decimal:
    """The error of a number, in units in its last place."""
    return abs(Decimal(got) - truth) / Decimal(float(np.spacing(abs(got))))


@given(st.floats(-700, 700))
def test_exponential_is_within_one_unit_in_the_last_place(x: float) -> None:
    with localcontext(prec=40):
        assert units_off(float(exp(np.array([x]))[0]), Decimal(x).exp()) < 1


@given(st.floats(2.0**-1000, 2.0**1000))
def test_logarithm_is_within_one_unit_in_the_last_place(x: float) -> None:
    with localcontext(prec=40):
        assert units_off(float(log(np.array([x]))[0]), Decimal(x).ln()) < 1


@pytest.mark.parametrize("x", [0.0, -0.0])
def test_exponential_of_zero_is_one(x: float) -> None:
    assert exp(np.array([x]))[0] == 1.0
