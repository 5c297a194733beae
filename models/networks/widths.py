"""The widths of networks that double as the image is halved, in DCGAN and resnet."""

SMALLEST = 4
"""The side of the smallest features, in pixels."""
WIDEST = 8
"""The multiple of the width at which doubling stops."""


def doubled_widths(width: int, resolution: int) -> list[int]:
    """The numbers of features at R/2, R/4, … 4: `width`, doubled with every halving, up to eight times."""
    halvings = (resolution // SMALLEST).bit_length() - 1
    return [width * min(2**halving, WIDEST) for halving in range(halvings)]
