"""The numeric environment: everything apart from spec and images that the bits of a run depend on.

Chosen by what the device can do, never by timing, so that the same machine always chooses the same.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from contract.plugin import Frozen
from models.arithmetic import arithmetic

Precision = Literal["float32", "bfloat16"]
Layout = Literal["contiguous", "channels_last"]

_BFLOAT16_UNITS = ("avx512_bf16", "amx_bf16")
_FIRST_TENSOR_CORES = (7, 0)
_FOUND = "+"


class NumericEnvironment(Frozen):
    """Two runs of one spec under equal environments are equal bit for bit (on the CPU)."""

    device: Literal["cpu", "cuda"]
    device_model: str
    isa: str
    """ATen's instruction set and, of a CPU, `+` with what its arithmetic comes to; of a GPU nothing is tried.

    One field: a worker of another version would refuse a record or snapshot that had one more.
    """
    threads: int
    precision: Precision
    layout: Layout
    torch_version: str

    @property
    def fingerprint(self) -> str:
        """The whole on one readable line: equal exactly when the environments are."""
        device = f"{self.device}/{'-'.join(self.device_model.split())}/{self.isa}/{self.threads}t"
        return f"{device}/{self.precision}/{self.layout}/{self.torch_version}"

    def agrees_with(self, recorded: "NumericEnvironment") -> bool:
        """Whether nothing is known to differ. What was recorded before arithmetic was tried says less."""
        isa = self.isa if _FOUND in recorded.isa else self.isa.partition(_FOUND)[0]
        return recorded == self.model_copy(update={"isa": isa})

    def apply(self) -> None:
        """Set this process up: its threads and torch's deterministic algorithms. Before any work.

        Again in every other thread that computes: OpenMP counts threads for each thread, and a convolution
        that is the first work of one takes all cores, whatever torch has been told elsewhere.

        On a GPU the process must also start with `CUBLAS_WORKSPACE_CONFIG=:4096:8` in its environment:
        matrix products refuse to run without it once deterministic algorithms are asked for.
        """
        torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(mode=True)
        # Left on, it would write every new tensor twice.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False

    def place(self, network: nn.Module) -> None:
        """Move a network to the device, in the layout of this environment. In place."""
        network.to(device=self.device, memory_format=self.memory_format)  # type: ignore[call-overload]

    def autocast(self) -> AbstractContextManager[object]:
        """The arithmetic of the forward passes: bfloat16 where it was chosen; weights stay float32."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16")

    @property
    def memory_format(self) -> torch.memory_format:
        """The order of a convolution's tensors in memory."""
        return torch.channels_last if self.layout == "channels_last" else torch.contiguous_format


def detect(
    device: Literal["auto", "cpu", "cuda"], threads: int, precision: Literal["auto", "float32", "bfloat16"]
) -> NumericEnvironment:
    """The environment of this process: its device and precision asked for, or chosen by capability.

    Raises:
        RuntimeError: "cuda" was asked for, and there is none.
    """
    has_cuda = device != "cpu" and torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise RuntimeError(
            "the device was set to cuda, and torch finds no CUDA device; set it to auto or cpu"
        )
    return _detect_cuda(threads, precision) if has_cuda else _detect_cpu(threads, precision)


def _detect_cpu(threads: int, precision: str) -> NumericEnvironment:
    able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    isa = torch.backends.cpu.get_cpu_capability()
    chosen = _precision(precision, able=any(able.get(unit) for unit in _BFLOAT16_UNITS))
    return NumericEnvironment(
        device="cpu",
        device_model=_cpu_model(),
        isa=f"{isa}{_FOUND}{_arithmetic(chosen)}",
        threads=threads,
        precision=chosen,
        layout="channels_last" if isa.startswith("AVX") else "contiguous",  # oneDNN's kernels: 1.2 to 1.35×
        torch_version=torch.__version__,
    )


def _detect_cuda(threads: int, precision: str) -> NumericEnvironment:
    capability = torch.cuda.get_device_capability()
    chosen = _precision(precision, able=torch.cuda.is_bf16_supported(including_emulation=False))
    tensor_cores = capability >= _FIRST_TENSOR_CORES and chosen == "bfloat16"
    return NumericEnvironment(
        device="cuda",
        device_model=torch.cuda.get_device_name(),
        isa=f"sm{capability[0]}{capability[1]}",
        threads=threads,
        precision=chosen,
        layout="channels_last" if tensor_cores else "contiguous",
        torch_version=f"{torch.__version__}/cudnn{torch.backends.cudnn.version()}",  # type: ignore[no-untyped-call]
    )


def _precision(asked: str, *, able: bool) -> Precision:
    if asked == "auto":
        return "bfloat16" if able else "float32"
    return "bfloat16" if asked == "bfloat16" else "float32"


def _arithmetic(precision: Precision) -> str:
    """Of the one precision or of both: what stays in float32 beside bfloat16 is computed, too."""
    exact = arithmetic(torch.float32)
    return exact if precision == "float32" else f"{exact}-{arithmetic(torch.bfloat16)}"


def _cpu_model() -> str:
    """What Linux calls the processor; elsewhere unknown, the ISA then tells what matters."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown")
