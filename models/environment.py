"""The numeric environment: everything besides spec and images that the bits of a run depend on.

It is chosen by the device's capabilities, never by timing, so the same machine always makes the same choice.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from contract.devices import Device, DeviceChoice, Precision, PrecisionChoice
from contract.plugin import Frozen
from models.arithmetic import arithmetic

Layout = Literal["contiguous", "channels_last"]

_BFLOAT16_UNITS = ("avx512_bf16", "amx_bf16")
_FIRST_TENSOR_CORES = (7, 0)
_FOUND = "+"


class NumericEnvironment(Frozen):
    """Two runs of a spec in equal environments are bit-identical (on the CPU)."""

    device: Device
    device_model: str
    isa: str
    """ATen's instruction set and, on a CPU only, `+` and a hash of its arithmetic.

    It is a single field because workers of other versions would reject records and snapshots with a new one.
    """
    threads: int
    precision: Precision
    layout: Layout
    torch_version: str

    @property
    def fingerprint(self) -> str:
        """The environment as one readable line; equal if and only if the environments are."""
        device = f"{self.device}/{'-'.join(self.device_model.split())}/{self.isa}/{self.threads}t"
        return f"{device}/{self.precision}/{self.layout}/{self.torch_version}"

    def agrees_with(self, recorded: "NumericEnvironment") -> bool:
        """Whether no difference is known. Older records contain no hash of the arithmetic to compare."""
        isa = self.isa if _FOUND in recorded.isa else self.isa.partition(_FOUND)[0]
        return recorded == self.model_copy(update={"isa": isa})

    def apply(self) -> None:
        """Set the number of threads and torch's deterministic algorithms for this process, before any work.

        Call it again in every other thread that computes: OpenMP sets the number of threads per thread, and
        otherwise a thread whose first work is a convolution takes all cores, whatever other threads have set.

        On a GPU the process must also start with `CUBLAS_WORKSPACE_CONFIG=:4096:8` in its environment,
        because matrix products refuse to run without it under deterministic algorithms.
        """
        torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(mode=True)
        # If left on, it writes every new tensor twice.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False

    def place(self, network: nn.Module) -> None:
        """Move a network to the device, in the layout of this environment. In place."""
        network.to(device=self.device, memory_format=self.memory_format)  # type: ignore[call-overload]

    @property
    def allows_shortcuts(self) -> bool:
        """Whether strided layers may take shortcuts in training: on CPUs, in channels_last."""
        return self.device == "cpu" and self.layout == "channels_last"

    def autocast(self) -> AbstractContextManager[object]:
        """The precision of forward passes: bfloat16 if it was chosen; weights stay in float32."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16")

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory format of convolutions' tensors."""
        return torch.channels_last if self.layout == "channels_last" else torch.contiguous_format


def detect(device: DeviceChoice, threads: int, precision: PrecisionChoice) -> NumericEnvironment:
    """The environment of this process, with device and precision as given or chosen by capability.

    Raises:
        RuntimeError: "cuda" was requested but is not available.
    """
    has_cuda = device != "cpu" and torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise RuntimeError(
            "the device was set to cuda, and torch finds no CUDA device; set it to auto or cpu"
        )
    return _detect_cuda(threads, precision) if has_cuda else _detect_cpu(threads, precision)


def _detect_cpu(threads: int, precision: PrecisionChoice) -> NumericEnvironment:
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


def _detect_cuda(threads: int, precision: PrecisionChoice) -> NumericEnvironment:
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


def _precision(asked: PrecisionChoice, *, able: bool) -> Precision:
    if asked == "auto":
        return "bfloat16" if able else "float32"
    return "bfloat16" if asked == "bfloat16" else "float32"


def _arithmetic(precision: Precision) -> str:
    """The hash for float32 and, if bfloat16 was chosen, for bfloat16 too: some layers stay in float32."""
    exact = arithmetic(torch.float32)
    return exact if precision == "float32" else f"{exact}-{arithmetic(torch.bfloat16)}"


def _cpu_model() -> str:
    """Linux's name for the processor; "unknown" elsewhere, where the ISA must suffice."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown")
