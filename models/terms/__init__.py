"""Terms added to losses: parameters live in `contract`, maths here, in files of the same name."""

from collections.abc import Callable, Mapping

from contract import terms as parameters
from models.game import DiscriminatorTerm, GeneratorTerm
from models.terms.mmd import Mmd
from models.terms.r1 import R1
from models.terms.r2 import R2
from models.terms.weight_penalty import WeightPenalty

TERMS: Mapping[type, Callable[..., DiscriminatorTerm | GeneratorTerm]] = {
    parameters.Mmd: Mmd,
    parameters.WeightPenalty: WeightPenalty,
    parameters.R1: R1,
    parameters.R2: R2,
}


def build(term: parameters.Term) -> DiscriminatorTerm | GeneratorTerm:
    """The maths of a term."""
    return TERMS[type(term)](term)
