"""The least each capability of the mathematics wants, by name."""

from __future__ import annotations

from typing import Any

_WEIGHTED: dict[str, Any] = {"weights": [0.5, 0.5], "criteria_types": ["benefit", "cost"]}

MATH: dict[str, dict[str, Any]] = {
    "analyze_prices": {"prices": [1, 2]},
    "collaborative_filter": {"user_id": "a", "interactions": [{"user_id": "a", "item_id": "x"}]},
    "content_similarity": {"query_vector": [1], "candidate_vectors": [[1]]},
    "cost_per_gflop": {"price_per_hour": 2, "gpu_type": "H100"},
    "cost_per_token": {"price_per_hour": 2, "gpu_type": "H100"},
    "detect_anomaly": {"current_price": 2, "historical_prices": [1, 2, 3, 2, 1]},
    "efficiency_score": {"price_per_hour": 2, "gpu_type": "H100"},
    "ensemble_recommend": {"candidate_offers": [{"price_per_hour": 2, "gpu": "H100"}]},
    "forecast_price": {"prices": [1, 2]},
    "get_benchmark": {"gpu": "H100"},
    "map_workload_to_gpu": {"text": "serve Llama 3.1 8B"},
    "mcda_rank": {"decision_matrix": [[1, 2], [2, 1]], **_WEIGHTED},
    "predict": {"gpu": "H100"},
    "put_benchmark": {
        "gpu": "T4",
        "model": "Llama 2 7B",
        "precision": "fp16",
        "batch": 1,
        "engine": "llama.cpp",
        "tokens_per_second": 12,
        "source": "https://measured.example",
        "measured_at": "2026-01-02",
    },
    "sensitivity_analysis": {"alternatives": [[1, 2], [2, 1]], **_WEIGHTED},
    "topsis_rank": {"decision_matrix": [[1, 2], [2, 1]], **_WEIGHTED},
}
