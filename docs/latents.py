"""Latents of the prior normal, of a seed and on the path between two: latents.py SEED Z [TO AT]

A specification that runs (docs/api.md, "The latent of a seed"). It prints u and latent of each coordinate in
hexadecimal. Python rounds every operation to float64 and fuses none; Philox is all that numpy is needed for.
"""

import math
import struct
import sys

import numpy as np

LN_2 = 0.6931471803691238, 1.9082149292705877e-10  # the first has zeros at its end
LOG = """0.14798198605116586 0.15313837699209373 0.1818357216161805 0.22222198432149784 0.2857142874366239
    0.3999999999940942 0.6666666666666735 0"""
EXP = """4.1381367970572385e-08 -1.6533902205465252e-06 6.613756321437934e-05 -0.0027777777777015593
    0.16666666666666602 0"""
QUANTILE_CENTRE = """2509.0809287301227 33430.57558358813 67265.7709270087 45921.95393154987 13731.69376550946
    1971.5909503065513 133.14166789178438 3.3871328727963665 / 5226.495278852854 28729.085735721943
    39307.89580009271 21213.794301586597 5394.196021424751 687.1870074920579 42.31333070160091 1"""
QUANTILE_TAIL = """0.0007745450142783414 0.022723844989269184 0.2417807251774506 1.2704582524523684
    3.6478483247632045 5.769497221460691 4.630337846156546 1.4234371107496835 / 1.0507500716444169e-09
    0.0005475938084995345 0.015198666563616457 0.14810397642748008 0.6897673349851 1.6763848301838038
    2.053191626637759 1"""
QUANTILE_FAR_TAIL = """2.0103343992922881e-07 2.7115555687434876e-05 0.0012426609473880784
    0.026532189526576124 0.29656057182850487 1.7848265399172913 5.463784911164114 6.657904643501103 /
    2.0442631033899397e-15 1.421511758316446e-07 1.8463183175100548e-05 0.0007868691311456133
    0.014875361290850615 0.1369298809227358 0.599832206555888 1"""
PHI_CENTRE = """0.06568233791820745 2.2352520354606837 161.02823106855587 1067.6894854603709 18154.98125334356
    / 1 47.202581904688245 976.0985517377767 10260.932208618979 45507.78933502673"""
PHI_TAIL = """1.0765576773720192e-08 0.39894151208813466 8.883149794388377 93.50665613217785 597.2702763948002
    2494.5375852903726 6848.190450536283 11602.65143764735 9842.714838383978 / 1 22.266688044328117
    235.387901782625 1519.3775994075547 6485.558298266761 18615.571640885097 34900.95272114598
    38912.00328609327 19685.429676859992"""
PHI_FAR_TAIL = """0.023073441764940174 0.215898534057957 0.12740116116024736 0.022235277870649807
    0.0014216191932278934 2.9112874951168793e-05 / 1 1.284260096144911 0.4682382124808651
    0.06598813786892856 0.0037823963320275824 7.297515550839662e-05"""


def polynomial(coefficients: str, x: float) -> float:
    """Highest power first, by Horner's rule: each step is one product and one sum."""
    value = 0.0
    for coefficient in coefficients.split():
        value = value * x + float(coefficient)
    return value


def ratio(polynomials: str, x: float) -> float:
    numerator, denominator = polynomials.split("/")
    return polynomial(numerator, x) / polynomial(denominator, x)


def log(x: float) -> float:
    mantissa, exponent = math.frexp(x)  # x = mantissa · 2^exponent, mantissa in [1/2, 1)
    if mantissa < 0.7071067811865476:
        mantissa, exponent = mantissa * 2, exponent - 1
    f = mantissa - 1
    s = f / (2 + f)
    half_square = 0.5 * f * f
    series = polynomial(LOG, s * s)
    return exponent * LN_2[0] - ((half_square - (s * (half_square + series) + exponent * LN_2[1])) - f)


def exp(x: float) -> float:
    k = round(x * 1.4426950408889634)  # to the nearest whole number, ties to even
    high, low = x - k * LN_2[0], k * LN_2[1]
    r = high - low
    c = r - polynomial(EXP, r * r)
    return math.ldexp(1 - ((low - r * c / (2 - c)) - high), k)


def quantile(u: float) -> float:
    q = u - 0.5
    if abs(q) <= 0.425:
        return q * ratio(QUANTILE_CENTRE, 0.180625 - q * q)
    r = math.sqrt(-log(min(u, 1 - u)))
    return math.copysign(ratio(QUANTILE_TAIL, r - 1.6) if r <= 5 else ratio(QUANTILE_FAR_TAIL, r - 5), q)


def phi(x: float) -> float:
    z = abs(x)
    if z < 0.67448975:
        return 0.5 + x * ratio(PHI_CENTRE, z * z)
    beyond = exp(-0.5 * z * z) * (ratio(PHI_TAIL, z) if z < 5.656854249492381 else far_share(z))
    return beyond if x < 0 else 1 - beyond


def far_share(z: float) -> float:
    inverse_square = 1 / (z * z)
    return (0.3989422804014327 - inverse_square * ratio(PHI_FAR_TAIL, inverse_square)) / z


def cosine(turn: float) -> float:
    """Of a number of right angles, by fourteen terms of its Taylor series."""
    angle = turn * 1.5707963267948966
    square = angle * angle
    term = total = 1.0
    for k in range(1, 14):
        term *= -square / ((2 * k - 1) * (2 * k))
        total += term
    return total


def shares(seed: int, size: int) -> list[float]:
    """The u of a seed's coordinates."""
    return [((int(raw) >> 12) + 0.5) * 2.0**-52 for raw in np.random.Philox(key=seed).random_raw(size)]


def share_between(start: float, end: float, way: float) -> float:
    """The u of a point that far, 0 to 1, along a path, from those of its ends."""
    if way in (0, 1):
        return end if way else start
    blended = phi(quantile(start) * cosine(way) + quantile(end) * cosine(1 - way))
    return min(max(blended, 2.0**-53), 1 - 2.0**-53)


if __name__ == "__main__":
    found = shares(int(sys.argv[1]), int(sys.argv[2]))
    if len(sys.argv) > 3:
        ends = zip(found, shares(int(sys.argv[3]), len(found)), strict=True)
        found = [share_between(start, end, float(sys.argv[4])) for start, end in ends]
    for u in found:
        (latent,) = struct.unpack("f", struct.pack("f", quantile(u)))
        sys.stdout.write(f"{u.hex()} {latent.hex()}\n")
