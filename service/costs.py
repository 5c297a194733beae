"""What a sample of each generator costs the samplers, as they tell with their answers."""

from collections import OrderedDict

from contract.sampling import SamplePrecision, SampleSpec

_MOST_GENERATORS = 256
_STRANGER = 8
"""A generator that has not been heard of may cost this many times what the last one does."""
_USUAL_MICROSECONDS = 1_000
"""Before anything has been heard."""


class Costs:
    """Microseconds of a sampler by generator, in full batches, so that they do not depend on the load."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, SamplePrecision], int] = OrderedDict()
        self.usual = _USUAL_MICROSECONDS
        """Of one sample of the generator heard of last."""

    def learn(self, spec: SampleSpec, milliseconds: float) -> None:
        """Note what one sample like this takes; ignored if it is 0, as from a sampler that does not tell."""
        if milliseconds > 0:
            key = spec.digest, spec.precision
            self._known[key] = self.usual = max(1, round(milliseconds * 1000))
            self._known.move_to_end(key)
            if len(self._known) > _MOST_GENERATORS:
                self._known.popitem(last=False)

    def is_stranger(self, spec: SampleSpec) -> bool:
        """Whether others have been heard of, and this generator has not."""
        return bool(self._known) and (spec.digest, spec.precision) not in self._known

    def rendering(self, spec: SampleSpec) -> int | None:
        """Of all samples of a request without enlarging them; None for a generator not heard of yet."""
        each = self._known.get((spec.digest, spec.precision))
        return each and spec.count * each

    def of(self, spec: SampleSpec) -> int:
        """Of all samples of a request; for a generator not heard of yet, as much as for the last."""
        return spec.weight * self._known.get((spec.digest, spec.precision), self.usual)

    def at_worst(self, spec: SampleSpec) -> int:
        """The same, but too much rather than too little for a generator not heard of yet."""
        return self.of(spec) * (_STRANGER if self.is_stranger(spec) else 1)
