"""Published shapes of language models: litgpt `config.py` (Lightning AI), DeepSeek from its own configuration.

Each row: parameters in 10⁹ as published, layers, hidden width, query heads, KV heads, head width, width of the
feed-forward layer (of one expert), padded vocabulary. `TIED` models use their embedding as output layer.
"""

from __future__ import annotations

from typing import Any

from mathcore.sizing import ModelShape

_ROWS: dict[str, tuple[float, int, int, int, int, int, int, int]] = {
    "Llama 3.1 8B": (8.03, 32, 4096, 32, 8, 128, 14336, 128256),
    "Llama 3.1 70B": (70.55, 80, 8192, 64, 8, 128, 28672, 128256),
    "Llama 3.1 405B": (405.85, 126, 16384, 128, 8, 128, 53248, 128256),
    "Llama 3.2 1B": (1.24, 16, 2048, 32, 8, 64, 8192, 128256),
    "Llama 3.2 3B": (3.21, 28, 3072, 24, 8, 128, 8192, 128256),
    "Llama 2 7B": (6.74, 32, 4096, 32, 32, 128, 11008, 32000),
    "Llama 2 13B": (13.02, 40, 5120, 40, 40, 128, 13824, 32000),
    "Llama 2 70B": (69.0, 80, 8192, 64, 8, 128, 28672, 32000),
    "Mistral 7B": (7.25, 32, 4096, 32, 8, 128, 14336, 32768),
    "Mixtral 8x7B": (46.70, 32, 4096, 32, 8, 128, 14336, 32000),
    "Mixtral 8x22B": (141, 56, 6144, 48, 8, 128, 16384, 32768),
    "Qwen2.5 0.5B": (0.49, 24, 896, 14, 2, 64, 4864, 151936),
    "Qwen2.5 7B": (7.62, 28, 3584, 28, 4, 128, 18944, 152064),
    "Qwen2.5 14B": (14.8, 48, 5120, 40, 8, 128, 13824, 152064),
    "Qwen2.5 32B": (32.76, 64, 5120, 40, 8, 128, 27648, 152064),
    "Qwen2.5 72B": (72.71, 80, 8192, 64, 8, 128, 29568, 152064),
    "Qwen3 0.6B": (0.6, 28, 1024, 16, 8, 128, 3072, 151936),
    "Qwen3 4B": (4.0, 36, 2560, 32, 8, 128, 9728, 151936),
    "Qwen3 8B": (8.19, 36, 4096, 32, 8, 128, 12288, 151936),
    "Qwen3 14B": (14.8, 40, 5120, 40, 8, 128, 17408, 151936),
    "Qwen3 32B": (32.76, 64, 5120, 64, 8, 128, 25600, 151936),
    "Qwen3 30B-A3B": (30.5, 48, 2048, 32, 4, 128, 768, 151936),
    "Qwen3 235B-A22B": (235, 94, 4096, 64, 4, 128, 1536, 151936),
    "Gemma 2 9B": (9.24, 42, 3584, 16, 8, 256, 14336, 256000),
    "Gemma 2 27B": (27.2, 46, 4608, 32, 16, 128, 36864, 256000),
    "Gemma 3 4B": (4.3, 34, 2560, 8, 4, 256, 10240, 262144),
    "Gemma 3 12B": (12.2, 48, 3840, 16, 8, 256, 15360, 262144),
    "Gemma 3 27B": (27.4, 62, 5376, 32, 16, 128, 21504, 262144),
    "Phi-4": (14.66, 40, 5120, 40, 10, 128, 17920, 100352),
    "Phi-3 mini": (3.8, 32, 3072, 32, 32, 96, 8192, 32064),
}
TIED = frozenset(
    {"Llama 3.2 1B", "Llama 3.2 3B", "Qwen2.5 0.5B", "Qwen3 0.6B", "Qwen3 4B"}
    | {name for name in _ROWS if name.startswith("Gemma")}
)
_MIXTURES = {
    "Mixtral 8x7B": (12.88, 8, 2),
    "Mixtral 8x22B": (39, 8, 2),
    "Qwen3 30B-A3B": (3.3, 128, 8),
    "Qwen3 235B-A22B": (22, 128, 8),
}
_WINDOWS = {"Gemma 2": (4096, 2), "Gemma 3": (1024, 6)}


def _shape(name: str) -> ModelShape:
    parameters, layers, hidden, heads, kv_heads, head_dim, intermediate, vocabulary = _ROWS[name]
    more: dict[str, Any] = {}
    if name in _MIXTURES:
        active, more["experts"], more["experts_used"] = _MIXTURES[name]
        more["active_parameters"] = active * 1e9
    if name[:7] in _WINDOWS:
        more["window"], more["global_every"] = _WINDOWS[name[:7]]
    return ModelShape(
        parameters=parameters * 1e9,
        layers=layers,
        hidden=hidden,
        kv_heads=kv_heads,
        head_dim=head_dim,
        heads=heads,
        intermediate=intermediate,
        vocabulary=vocabulary,
        **more,
    )


SHAPES = {name: _shape(name) for name in _ROWS}
DEEPSEEK = ModelShape(
    parameters=671e9,
    layers=61,
    hidden=7168,
    kv_heads=128,
    head_dim=128,
    heads=128,
    active_parameters=37e9,
    latent_width=512 + 64,
)
