"""The R2 penalty: flattens the discriminator at fakes."""

from contract import terms as parameters
from models.penalties import ZeroCentred, fakes


class R2(ZeroCentred):
    """γ/2 E‖∇D(x)‖² over fakes."""

    def __init__(self, parameters: parameters.R2) -> None:
        super().__init__("r2", fakes, parameters.gamma_at, parameters.every_steps)
