"""The description embedded in an exported program, so that others can sample from it as the service does."""

import json

from contract.checkpoint import CheckpointHeader

KEY = "dcgan"
"""The key of the ONNX metadata, and the name of the extra file `dcgan.json`."""

_LATENTS = (
    "raw = numpy.random.Philox(key=seed).random_raw(Z); u = ((raw >> 12) + 0.5) * 2**-52; then "
    "the prior's quantile of u in float64, rounded to float32"
)
_PIXELS = "(image + 1) * 127.5 in float32, rounded to nearest, ties to even, clamped to 0 ... 255"


def describe(header: CheckpointHeader, digest: str, latent_size: int) -> str:
    """Describe the generator's origin, its inputs and its outputs as JSON."""
    spec = header.spec
    not_there = set() if header.basis else {"basis"}  # older files lack it: their programs keep their bytes
    description = {
        "digest": digest,
        "checkpoint": header.model_dump(mode="json", exclude=not_there),
        "latents": {
            "shape": ["batch", latent_size],
            "dtype": "float32",
            "prior": spec.prior.model_dump(mode="json"),
            "of_a_seed": _LATENTS,
        },
        "images": {
            "shape": ["batch", spec.channels, spec.resolution, spec.resolution],
            "dtype": "float32",
            "range": [-1, 1],
            "pixels": _PIXELS,
        },
    }
    return json.dumps(description, sort_keys=True)
