"""The R1 penalty: flattens the discriminator at reals."""

from contract import terms as parameters
from models.penalties import ZeroCentred, reals


class R1(ZeroCentred):
    """γ/2 E‖∇D(x)‖² over reals."""

    def __init__(self, parameters: parameters.R1) -> None:
        super().__init__("r1", reals, parameters.gamma_at, parameters.every_steps)
