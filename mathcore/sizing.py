"""How much GPU memory a model needs: weights, KV cache, activations, optimiser state, engine overhead.

Formulas: weights N·b; KV cache 2·L·kv_heads·head_dim·b a token (grouped-query) or L·(rank + rope_dim)·b (latent
attention, DeepSeek-V2); full fine-tuning with AdamW in mixed precision 18 bytes a parameter (weights 6, moments 8,
gradient 4; Hugging Face model memory anatomy, ZeRO); LoRA adds that for the adapter alone. A serving engine keeps 10 %
of the card and about 1 GiB for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Literal

GIB = 1024**3
GB = 1e9
SERVING_SHARE = 0.90
ENGINE_GB = 1.0

BYTES_PER_WEIGHT: dict[str, float] = {
    "fp32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "q8_0": 1.0625,
    "q6_k": 0.82,
    "q5_k_m": 0.71,
    "q4_k_m": 0.61,
    "int4": 0.56,
}

Training = Literal["full", "lora", "qlora"]


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The shape of a transformer that decides its memory. `latent_width` is set for latent attention.

    Raises ValueError for a figure that is not finite and above zero, or more active parameters than there are.
    """

    parameters: float
    layers: int
    hidden: int
    kv_heads: int
    head_dim: int
    active_parameters: float | None = None
    latent_width: int | None = None

    def __post_init__(self) -> None:
        for name in ("parameters", "layers", "hidden", "kv_heads", "head_dim", "active_parameters", "latent_width"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a finite number above zero")
        if self.active_parameters is not None and self.active_parameters > self.parameters:
            raise ValueError("active_parameters cannot be more than parameters")


@dataclass(frozen=True, slots=True)
class Memory:
    """Gigabytes (10⁹ bytes) by what they are for; `total_gb` is what the cards must hold together."""

    weights_gb: float
    kv_cache_gb: float
    activations_gb: float
    optimiser_gb: float
    overhead_gb: float

    @property
    def total_gb(self) -> float:
        """Everything together."""
        return self.weights_gb + self.kv_cache_gb + self.activations_gb + self.optimiser_gb + self.overhead_gb


def kv_bytes_per_token(shape: ModelShape, bytes_per_value: float = 2.0) -> float:
    """Bytes of KV cache one token takes."""
    _positive(bytes_per_value=bytes_per_value)
    if shape.latent_width is not None:
        return shape.layers * shape.latent_width * bytes_per_value
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * bytes_per_value


def serving_memory(shape: ModelShape, precision: str, context_tokens: int, concurrency: int) -> Memory:
    """Memory to serve a model to `concurrency` requests of `context_tokens` each.

    Raises ValueError for an unknown precision or a count below one.
    """
    _positive(context_tokens=context_tokens, concurrency=concurrency)
    weights = shape.parameters * _bytes(precision) / GB
    kv = kv_bytes_per_token(shape) * context_tokens * concurrency / GB
    activations = 4 * shape.hidden * min(8_192, context_tokens) * 2.0 / GB
    overhead = ENGINE_GB + (weights + kv + activations) * (1 / SERVING_SHARE - 1)
    return Memory(weights, kv, activations, 0.0, overhead)


def training_memory(shape: ModelShape, how: Training, sequence_tokens: int, batch: int, lora_rank: int = 16) -> Memory:
    """Memory to fine-tune with AdamW, activations recomputed (2·s·b·h a layer, Korthikanti et al. 2022).

    Raises ValueError for an unknown method or a count below one.
    """
    if how not in ("full", "lora", "qlora"):
        raise ValueError("how must be one of full, lora, qlora")
    _positive(sequence_tokens=sequence_tokens, batch=batch, lora_rank=lora_rank)
    activations = 2.0 * shape.layers * sequence_tokens * batch * shape.hidden * 2.0 / GB
    activations += 34.0 * sequence_tokens * batch * shape.hidden / GB
    if how == "full":
        return Memory(6 * shape.parameters / GB, 0.0, activations, 12 * shape.parameters / GB, ENGINE_GB)
    # An adapter on every linear layer of a block: about seven matrices, each rank·(in + out).
    adapter = 7 * shape.layers * lora_rank * 2.5 * shape.hidden
    base = _bytes("bf16" if how == "lora" else "int4")
    return Memory(base * shape.parameters / GB, 0.0, activations, 18 * adapter / GB, ENGINE_GB)


def _bytes(precision: str) -> float:
    try:
        return BYTES_PER_WEIGHT[precision]
    except KeyError:
        raise ValueError(f"precision must be one of {', '.join(BYTES_PER_WEIGHT)}") from None


def _positive(**figures: float) -> None:
    for name, figure in figures.items():
        if not (isfinite(figure) and figure > 0):
            raise ValueError(f"{name} must be a finite number above zero")
