"""How a picture was made, as texts by keyword: samplers write them, the gateway reads them back."""

from collections.abc import Mapping

from contract.sampling import SampleSpec

_DIGEST, _SEED, _COUNT = "dcgan:digest", "dcgan:seed", "dcgan:count"
_SPEC, _ADDRESS = "dcgan:spec", "dcgan:url"


def recipe(spec: SampleSpec) -> dict[str, str]:
    """The texts of the picture that a spec describes."""
    texts = {
        "Software": "dcgan",
        _DIGEST: spec.digest,
        _SEED: ",".join(map(str, spec.listed or spec.seeds[:1])),
        _COUNT: str(spec.count),
        _SPEC: spec.model_dump_json(exclude_defaults=True),
        _ADDRESS: spec.address(),
    }
    return {keyword: text for keyword, text in texts.items() if text}


def read_recipe(texts: Mapping[str, str]) -> SampleSpec | None:
    """The spec in a picture's texts; None if there is none.

    Raises:
        ValueError: the spec is invalid.
    """
    if _SPEC in texts:
        return SampleSpec.model_validate_json(texts[_SPEC])
    if not {_DIGEST, _SEED, _COUNT} <= texts.keys():
        return None
    # Pictures from before there were options have only these.
    told = {"digest": texts[_DIGEST], "seed": texts[_SEED], "count": texts[_COUNT]}
    return SampleSpec.model_validate(told)
