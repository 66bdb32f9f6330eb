"""A card's figures: what the mathematics takes of a GPU, and how to see that published figures cannot be true.

Compute is dense, in units of 10¹² operations a second; a catalogue that prints sparse figures beside dense ones doubles
half of its cards.
"""

from __future__ import annotations

from dataclasses import dataclass

from mathcore.figures import physical

TOLERANCE = 0.05
_DOUBLED_FP8 = frozenset({"Hopper", "Ada Lovelace", "Blackwell", "CDNA3"})
_EQUAL_FP8 = frozenset({"Gaudi3", "NeuronCore-v2"})
_BEFORE_AMPERE = frozenset({"Volta", "Turing", "Pascal", "Maxwell", "Kepler"})
_BEFORE_ADA = _BEFORE_AMPERE | {"Ampere"}
_SPARSE_FOLD = {"NeuronCore-v3": 4.0}


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU: memory in 10⁹ bytes, bandwidth in 10⁹ bytes a second, dense peaks in TFLOPS.

    `tflops` is that of 16-bit matrices with 32-bit sums. Raises ValueError for a figure not finite and above zero.
    """

    memory_gb: float
    bandwidth_gb_s: float
    tflops: float
    fp8_tflops: float | None = None
    fp32_tflops: float | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None:
                physical(**{name: value})

    @property
    def bandwidth_bytes(self) -> float:
        """Bytes a second."""
        return self.bandwidth_gb_s * 1e9

    def peak_flops(self, precision: str) -> float:
        """Operations a second on weights of this precision: 8-bit arithmetic where the card has it, else 16-bit.

        Weights of fewer bits are widened to 16 before they are multiplied.
        """
        if precision == "fp8" and self.fp8_tflops is not None:
            return self.fp8_tflops * 1e12
        return self.tflops * 1e12


def figure_faults(
    architecture: str,
    *,
    fp32: float | None = None,
    tf32: float | None = None,
    bf16: float | None = None,
    fp16: float | None = None,
    fp8: float | None = None,
    int8: float | None = None,
    sparse: float | None = None,
) -> tuple[str, ...]:
    """Why figures claimed for a card contradict each other or its architecture; nothing when they may be true.

    Dense TFLOPS (TOPS for `int8`), and `sparse`, the 16-bit figure claimed with sparsity. Rules: every figure above
    zero; sparse is twice dense (four times on NeuronCore-v3, Trainium2); FP8 is twice 16 bit on Ada, Hopper, Blackwell
    and CDNA3 and the same on Gaudi3 and NeuronCore-v2 (Trainium1); before Ampere no BF16 and no TF32; before Ada and
    Hopper no FP8; no INT8 matrices on Volta. An architecture the rules do not know is held to the first two. O(1).
    """
    claimed = {"fp32": fp32, "tf32": tf32, "bf16": bf16, "fp16": fp16, "fp8": fp8, "int8": int8, "sparse": sparse}
    faults = [f"{name} must be above zero" for name, value in claimed.items() if value is not None and not value > 0]
    faults += [f"{architecture} has no {name}" for name in _lacking(architecture) if claimed[name] is not None]
    dense = bf16 if bf16 is not None else fp16
    if dense is None or faults:
        return tuple(faults)
    if bf16 is not None and fp16 is not None and not _near(bf16, fp16):
        faults.append(f"bf16 {bf16:g} and fp16 {fp16:g} differ")
    folds = _SPARSE_FOLD.get(architecture, 2.0)
    if sparse is not None and not _near(sparse, folds * dense):
        faults.append(f"sparse {sparse:g} is not {folds:g} times dense {dense:g}")
    times = 2.0 if architecture in _DOUBLED_FP8 else 1.0 if architecture in _EQUAL_FP8 else None
    if times is not None and fp8 is not None and not _near(fp8, times * dense):
        faults.append(f"fp8 {fp8:g} is not {times:g} times 16-bit {dense:g}")
    return tuple(faults)


def _lacking(architecture: str) -> tuple[str, ...]:
    """The figures an architecture cannot have."""
    groups = ((_BEFORE_AMPERE, ("bf16", "tf32")), (_BEFORE_ADA, ("fp8",)), (frozenset({"Volta"}), ("int8",)))
    return tuple(name for architectures, names in groups if architecture in architectures for name in names)


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= TOLERANCE * other
