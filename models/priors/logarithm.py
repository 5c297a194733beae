"""The natural logarithm and its inverse with the same bits on every machine.

They use only operations that IEEE 754 rounds exactly. `np.log` and `np.exp` do not: their SIMD variants
differ in the last place.
"""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

# fdlibm's e_log.c (Sun Microsystems, 1993): ln 2 in two parts, and the odd series of log((1 + s) / (1 - s)).
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_LOG_SERIES = (
    1.479819860511658591e-01,
    1.531383769920937332e-01,
    1.818357216161805012e-01,
    2.222219843214978396e-01,
    2.857142874366239149e-01,
    3.999999999940941908e-01,
    6.666666666666735130e-01,
    0.0,
)
_SQRT_HALF = 0.7071067811865476

# fdlibm's e_exp.c (Sun Microsystems, 2004): the series of r (e^r + 1) / (e^r - 1), less 2, in r².
_INVERSE_OF_LN2 = 1.44269504088896338700e00
_EXP_SERIES = (
    4.13813679705723846039e-08,
    -1.65339022054652515390e-06,
    6.61375632143793436117e-05,
    -2.77777777770155933842e-03,
    1.66666666666666019037e-01,
    0.0,
)


def log(x: Values) -> Values:
    """The natural logarithm of positive normal numbers, after fdlibm: within one unit in the last place."""
    mantissa, exponent = np.frexp(x)
    small = mantissa < _SQRT_HALF
    f = np.where(small, mantissa * 2.0, mantissa) - 1.0
    k = (exponent - small).astype(np.float64)
    s = f / (2.0 + f)
    half_square = 0.5 * f * f
    series = polynomial(_LOG_SERIES, s * s)
    return k * _LN2_HIGH - ((half_square - (s * (half_square + series) + k * _LN2_LOW)) - f)


def exp(x: Values) -> Values:
    """The exponential of numbers within ±700, after fdlibm: within one unit in the last place."""
    k = np.rint(x * _INVERSE_OF_LN2)
    high = x - k * _LN2_HIGH
    low = k * _LN2_LOW
    r = high - low
    c = r - polynomial(_EXP_SERIES, r * r)
    return np.ldexp(1.0 - ((low - r * c / (2.0 - c)) - high), k.astype(np.int64))


def polynomial(coefficients: tuple[float, ...], x: Values) -> Values:
    """The polynomial of these coefficients, highest power first."""
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value *= x
        value += coefficient
    return value
