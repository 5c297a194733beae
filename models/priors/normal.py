"""The standard normal quantile by Wichura's algorithm AS 241, PPND16 (Applied Statistics 37, 1988, 477-484).

Its relative error is about 1e-16. The inverse uses the rational functions of Cody (ACM TOMS 19, 1993, 22-30,
algorithm 715, ANORM), which are as accurate even far out in the tails; the exponential of a rounded square
raises the error to z² · 1e-16. Both use only operations that IEEE 754 rounds exactly (+, −, ×, ÷, square
root, frexp and ldexp), each in its own numpy call so that none are fused: the bits are the same on every
machine.
"""

import numpy as np
from numpy.typing import NDArray

from contract import priors as parameters
from models.priors.logarithm import exp, log, polynomial

Values = NDArray[np.float64]

# Coefficients of AS 241, highest power first: (numerator, denominator).
_CENTRE = (
    (
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    ),
    (
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ),
)
_TAIL = (
    (
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    ),
)
_FAR_TAIL = (
    (
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        1.24266094738807843860e-3,
        2.65321895265761230930e-2,
        2.96560571828504891230e-1,
        1.78482653991729133580e0,
        5.46378491116411436990e0,
        6.65790464350110377720e0,
    ),
    (
        2.04426310338993978564e-15,
        1.42151175831644588870e-7,
        1.84631831751005468180e-5,
        7.86869131145613259100e-4,
        1.48753612908506148525e-2,
        1.36929880922735805310e-1,
        5.99832206555887937690e-1,
        1.0,
    ),
)

# Coefficients of Cody's functions, highest power first: (Φ(z) − 1/2) / z in z², up to z = 0.67448975; then
# (1 − Φ(z)) e^(z²/2) in z, up to √32; then its distance from 1 / (z√2π), times z³, in 1 / z².
_CDF_CENTRE = (
    (
        6.5682337918207449113e-2,
        2.2352520354606839287e0,
        1.6102823106855587881e2,
        1.0676894854603709582e3,
        1.8154981253343561249e4,
    ),
    (
        1.0,
        4.720258190468824187e1,
        9.7609855173777669322e2,
        1.0260932208618978205e4,
        4.5507789335026729956e4,
    ),
)
_CDF_TAIL = (
    (
        1.0765576773720192317e-8,
        3.9894151208813466764e-1,
        8.8831497943883759412e0,
        9.3506656132177855979e1,
        5.9727027639480026226e2,
        2.4945375852903726711e3,
        6.8481904505362823326e3,
        1.1602651437647350124e4,
        9.8427148383839780218e3,
    ),
    (
        1.0,
        2.2266688044328115691e1,
        2.3538790178262499861e2,
        1.519377599407554805e3,
        6.485558298266760755e3,
        1.8615571640885098091e4,
        3.4900952721145977266e4,
        3.8912003286093271411e4,
        1.9685429676859990727e4,
    ),
)
_CDF_FAR_TAIL = (
    (
        2.307344176494017303e-2,
        2.1589853405795699e-1,
        1.274011611602473639e-1,
        2.2235277870649807e-2,
        1.421619193227893466e-3,
        2.9112874951168792e-5,
    ),
    (
        1.0,
        1.28426009614491121e0,
        4.68238212480865118e-1,
        6.59881378689285515e-2,
        3.78239633202758244e-3,
        7.29751555083966205e-5,
    ),
)
_CENTRE_ENDS = 0.67448975
_TAIL_ENDS = 5.656854249492381  # √32
_DENSITY_AT_ZERO = 0.3989422804014327  # 1 / √2π


class Normal:
    """Standard normal coordinates."""

    def __init__(self, parameters: parameters.Normal) -> None:
        self.parameters = parameters

    def quantile(self, u: Values) -> Values:
        """The inverse of the normal distribution function; exactly odd about u = 1/2."""
        q = u - 0.5
        value = q * _ratio(_CENTRE, 0.180625 - q * q)
        outside = np.abs(q) > 0.425
        value[outside] = np.copysign(_tail(np.minimum(u[outside], 1.0 - u[outside])), q[outside])
        return value

    def cdf(self, value: Values) -> Values:
        """The share of the distribution below a value, for values within ±37: the inverse of the quantile."""
        z = np.abs(value)
        beyond = exp(-0.5 * z * z) * np.where(z < _TAIL_ENDS, _ratio(_CDF_TAIL, z), _far_share(z))
        outside = np.where(value < 0.0, beyond, 1.0 - beyond)
        return np.where(z < _CENTRE_ENDS, 0.5 + value * _ratio(_CDF_CENTRE, z * z), outside)


def _far_share(z: Values) -> Values:
    """The share beyond z, divided by e^(-z²/2), for z ≥ √32; some finite number for a smaller z."""
    z = np.maximum(z, _TAIL_ENDS)
    inverse_square = 1.0 / (z * z)
    return (_DENSITY_AT_ZERO - inverse_square * _ratio(_CDF_FAR_TAIL, inverse_square)) / z


def _tail(share: Values) -> Values:
    """The absolute value of the quantile beyond which the given `share` of the distribution lies."""
    r = np.sqrt(-log(share))
    value = _ratio(_TAIL, r - 1.6)
    far = r > 5.0  # of 10¹¹ coordinates, three
    if far.any():
        value[far] = _ratio(_FAR_TAIL, r[far] - 5.0)
    return value


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Values) -> Values:
    numerator, denominator = coefficients
    return polynomial(numerator, x) / polynomial(denominator, x)
