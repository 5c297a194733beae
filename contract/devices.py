"""What computes, and in which arithmetic: as a setting or request chooses it, and as it then is."""

from typing import Literal

Device = Literal["cpu", "cuda"]
DeviceChoice = Literal["auto", Device]

Precision = Literal["float32", "bfloat16"]
PrecisionChoice = Literal["auto", Precision]
