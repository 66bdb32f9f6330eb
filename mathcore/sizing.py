"""How much GPU memory a model needs: weights, KV cache, activations, optimiser state, engine overhead.

Formulas: weights N·b; KV cache 2·L·kv_heads·head_dim·b a token (grouped-query) or L·(rank + rope_dim)·b (latent
attention, DeepSeek-V2), where layers with a sliding window keep the window alone; full fine-tuning with AdamW in mixed
precision 18 bytes a parameter (weights 6, moments 8, gradient 4; Hugging Face model memory anatomy, ZeRO); LoRA adds
that for the adapter alone. A serving engine plans with 0.90 of each card less 1 GiB. Gigabytes are 10⁹ bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mathcore.figures import physical

GIB = 1024**3
GB = 1e9
SERVING_SHARE = 0.90
ENGINE_GB = GIB / GB
CONTEXT_GB = 0.8 * GIB / GB
"""What the driver's context takes of a card for each process: 0.3 to 0.8 GiB, the most of it counted."""

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
    "q4_0": 0.5625,
    "int4": 0.56,
}
"""Published sizes of files over their parameters. `int4` stands for NF4, AWQ and GPTQ in groups of 128 (0.52 to 0.56,
unverified; the most of it). Scales and the layers left in 16 bit make four bits weigh more than half a byte."""

Training = Literal["full", "lora", "qlora"]
TRAINING_BYTES = {"weights": 6.0, "moments and gradient": 12.0}
_IN_FLIGHT_TOKENS = 8_192
_ACTIVATIONS = 4


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The shape of a transformer that decides its memory. What is not known stays None.

    `latent_width`: rank and rope width of latent attention. `heads`, `intermediate`: query heads and the width of the
    feed-forward layer (of one expert in a mixture). `window`, `global_every`: tokens a local layer keeps, and one layer
    in so many that keeps everything (Gemma 2: 4096 and 2; Gemma 3: 1024 and 6). `vocabulary` weighs in training alone;
    unsaid it is that of Llama 3. Raises ValueError for a figure that is not finite and above zero, more active
    parameters or experts than there are, or one half of a pair without the other.
    """

    parameters: float
    layers: int
    hidden: int
    kv_heads: int
    head_dim: int
    active_parameters: float | None = None
    latent_width: int | None = None
    heads: int | None = None
    intermediate: int | None = None
    vocabulary: int = 128_256
    window: int | None = None
    global_every: int | None = None
    experts: int | None = None
    experts_used: int | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None:
                physical(**{name: value})
        if self.active_parameters is not None and self.active_parameters > self.parameters:
            raise ValueError("active_parameters cannot be more than parameters")
        for one, other in (("window", "global_every"), ("experts", "experts_used")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise ValueError(f"{one} and {other} belong together")
        if self.experts is not None and self.experts_used is not None and self.experts_used > self.experts:
            raise ValueError("experts_used cannot be more than experts")

    @property
    def active(self) -> float:
        """Parameters one token goes through."""
        return self.active_parameters or self.parameters


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


def counted_parameters(shape: ModelShape, *, tied: bool = False) -> float:
    """Parameters counted from the shape: embeddings, attention, gated feed-forward layers or experts, norms.

    `tied`: the output layer is the embedding. Leaves out biases (under 0.1 %) and towers for images. Counts grouped
    attention; latent attention is refused. Raises ValueError naming what of the shape is missing.
    """
    if shape.heads is None or shape.intermediate is None:
        raise ValueError("heads and intermediate are needed to count parameters")
    if shape.latent_width is not None:
        raise ValueError("latent_width: latent attention is not counted from its shape")
    hidden, experts = shape.hidden, shape.experts or 1
    attention = 2 * hidden * shape.head_dim * (shape.heads + shape.kv_heads)
    feed_forward = 3 * hidden * shape.intermediate * experts + (hidden * experts if shape.experts else 0)
    embeddings = shape.vocabulary * hidden * (1 if tied else 2)
    return float(embeddings + shape.layers * (attention + feed_forward + 2 * hidden) + hidden)


def weight_bytes(parameters: float, precision: str) -> float:
    """Bytes of so many weights. Raises ValueError for an unknown precision or a count not above zero."""
    physical(parameters=parameters)
    return parameters * bytes_per_weight(precision)


def bytes_per_weight(precision: str) -> float:
    """Bytes one weight takes in a precision. Raises ValueError naming those there are."""
    try:
        return BYTES_PER_WEIGHT[precision]
    except KeyError:
        raise ValueError(f"precision must be one of {', '.join(BYTES_PER_WEIGHT)}") from None


def kv_bytes_per_token(shape: ModelShape, bytes_per_value: float = 2.0) -> float:
    """Bytes of KV cache one token takes while it lies within every window."""
    physical(bytes_per_value=bytes_per_value)
    return shape.layers * _kv_values_per_layer(shape) * bytes_per_value


def kv_cache_bytes(shape: ModelShape, tokens: float, bytes_per_value: float = 2.0) -> float:
    """Bytes of KV cache of one request of so many tokens, local layers holding their window alone.

    An engine that does not free what left the window takes `kv_bytes_per_token` for each token instead. Every
    `global_every`-th layer is global. Raises ValueError for figures not above zero. O(1).
    """
    physical(tokens=tokens, bytes_per_value=bytes_per_value)
    kept = shape.layers * tokens
    if shape.window is not None and shape.global_every is not None:
        everywhere = shape.layers // shape.global_every
        kept = everywhere * tokens + (shape.layers - everywhere) * min(tokens, shape.window)
    return kept * _kv_values_per_layer(shape) * bytes_per_value


def serving_memory(
    shape: ModelShape, precision: str, context_tokens: int, concurrency: int, kv_bytes_per_value: float = 2.0
) -> Memory:
    """Memory to serve a model to `concurrency` requests of `context_tokens` each, on one card.

    Activations: four values of the hidden width for each token in flight, at most 8192 at once. The overhead is what
    the rule 0.90·card - 1 GiB leaves aside. Raises ValueError for an unknown precision or a count below one.
    """
    physical(context_tokens=context_tokens, concurrency=concurrency)
    weights = weight_bytes(shape.parameters, precision) / GB
    kv = kv_cache_bytes(shape, context_tokens, kv_bytes_per_value) * concurrency / GB
    activations = _in_flight(shape, min(_IN_FLIGHT_TOKENS, context_tokens))
    overhead = ((weights + kv + activations) * (1 - SERVING_SHARE) + ENGINE_GB) / SERVING_SHARE
    return Memory(weights, kv, activations, 0.0, overhead)


def encoding_memory(shape: ModelShape, precision: str, sequence_tokens: int, batch: int) -> Memory:
    """Memory to turn texts into vectors: weights and the activations of one batch; nothing is kept of what was read.

    Raises ValueError for an unknown precision or a count below one.
    """
    physical(sequence_tokens=sequence_tokens, batch=batch)
    activations = _in_flight(shape, sequence_tokens * batch)
    return Memory(weight_bytes(shape.parameters, precision) / GB, 0.0, activations, 0.0, CONTEXT_GB)


def training_memory(shape: ModelShape, how: Training, sequence_tokens: int, batch: int, lora_rank: int = 16) -> Memory:
    """Memory to train or fine-tune with AdamW, activations recomputed: 2·s·b·h bytes a layer (Korthikanti et al. 2022).

    To that 34·s·b·h for the one layer being recomputed, and 8·s·b·vocabulary for the scores of the next token and
    their gradient in 32 bit. Pre-training takes what full fine-tuning takes. `batch`: sequences at once on one card.
    Raises ValueError for an unknown method or a count below one.
    """
    if how not in ("full", "lora", "qlora"):
        raise ValueError("how must be one of full, lora, qlora")
    physical(sequence_tokens=sequence_tokens, batch=batch, lora_rank=lora_rank)
    tokens = sequence_tokens * batch
    activations = tokens * (2.0 * shape.layers * shape.hidden + 34.0 * shape.hidden + 8.0 * shape.vocabulary) / GB
    weights, states = TRAINING_BYTES.values()
    if how == "full":
        held = weights * shape.parameters / GB
        return Memory(held, 0.0, activations, states * shape.parameters / GB, ENGINE_GB)
    held = weight_bytes(shape.parameters, "bf16" if how == "lora" else "int4") / GB
    adapter = (weights + states) * adapter_parameters(shape, lora_rank) / GB
    return Memory(held, 0.0, activations, adapter, ENGINE_GB)


def adapter_parameters(shape: ModelShape, rank: int) -> float:
    """Parameters of a LoRA on every linear layer: rank·(in + out) of each (Hu et al. 2021).

    Of a shape without `heads` and `intermediate`: seven matrices of 2.5 hidden widths, 12 % below the exact count of
    Llama 3.1 8B. Experts of a mixture are counted once. Raises ValueError for a rank below one.
    """
    physical(rank=rank)
    if shape.heads is None or shape.intermediate is None:
        return 7 * shape.layers * rank * 2.5 * shape.hidden
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    widths = 4 * shape.hidden + 2 * queries + 2 * keys + 3 * (shape.hidden + shape.intermediate)
    return float(shape.layers * rank * widths)


def _kv_values_per_layer(shape: ModelShape) -> int:
    return shape.latent_width if shape.latent_width is not None else 2 * shape.kv_heads * shape.head_dim


def _in_flight(shape: ModelShape, tokens: float) -> float:
    return _ACTIVATIONS * shape.hidden * tokens * 2.0 / GB
