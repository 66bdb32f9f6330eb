"""What people type and exactly what is read from it; what is not named stays unread."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

PHRASES: list[tuple[str, dict[str, Any]]] = [
    ("serve llama 3.1 8b", {"workload": "llm_inference", "model": "Llama 3.1 8B"}),
    (
        "Serve Llama 3.1 70B in fp8 for 50 concurrent users with 32k context",
        {
            "workload": "llm_inference",
            "model": "Llama 3.1 70B",
            "precision": "fp8",
            "context_tokens": 32768,
            "concurrency": 50,
        },
    ),
    (
        "I want to host a chat model, 13B parameters, for 20 users",
        {"workload": "llm_inference", "parameters_b": 13.0, "concurrency": 20},
    ),
    (
        "run inference with mixtral 8x7b in 4-bit",
        {"workload": "llm_inference", "model": "Mixtral 8x7B", "precision": "int4"},
    ),
    (
        "deploy DeepSeek R1 on 8x H200",
        {"workload": "llm_inference", "model": "DeepSeek V3/R1", "gpu": "H200", "gpu_count": 8},
    ),
    ("serve qwen3-4b", {"workload": "llm_inference", "model": "Qwen3 4B"}),
    ("serve qwen3 in 4bit", {"workload": "llm_inference", "precision": "int4", "unread": ["model"]}),
    (
        "Qwen3-30B-A3B behind an api, 128k context window",
        {"workload": "llm_inference", "model": "Qwen3 30B-A3B", "context_tokens": 131072},
    ),
    ("host gemma-3-27b-it, int8", {"workload": "llm_inference", "model": "Gemma 3 27B", "precision": "int8"}),
    (
        "vllm with Meta-Llama-3.1-8B-Instruct, batch of requests, 64 parallel",
        {"workload": "llm_inference", "model": "Llama 3.1 8B", "concurrency": 64},
    ),
    ("llm infrence for a 7b model", {"workload": "llm_inference", "parameters_b": 7.0}),
    ("run a 70b model with ollama, q4_k_m", {"workload": "llm_inference", "parameters_b": 70.0, "precision": "q4_k_m"}),
    (
        "fine-tune llama 3.1 8b with qlora on 50k examples",
        {"workload": "fine_tuning", "model": "Llama 3.1 8B", "method": "qlora", "quantity": 50000.0, "unit": "example"},
    ),
    (
        "finetune mistral 7b using LoRA on 1.5M rows in the EU",
        {
            "workload": "fine_tuning",
            "model": "Mistral 7B",
            "method": "lora",
            "region": "eu",
            "quantity": 1500000.0,
            "unit": "example",
        },
    ),
    (
        "fine tuning of a 13b model, full fine-tune, 20,000 samples",
        {"workload": "fine_tuning", "parameters_b": 13.0, "method": "full", "quantity": 20000.0, "unit": "example"},
    ),
    (
        "full parameter sft of Qwen2.5 7B, 100k conversations",
        {"workload": "fine_tuning", "model": "Qwen2.5 7B", "method": "full", "quantity": 100000.0, "unit": "example"},
    ),
    (
        "fintune phi-3 on 5000 pairs",
        {"workload": "fine_tuning", "model": "Phi-3 mini", "quantity": 5000.0, "unit": "example"},
    ),
    (
        "pretrain a 1.5b model on 2T tokens",
        {"workload": "training", "parameters_b": 1.5, "quantity": 2000000000000.0, "unit": "token"},
    ),
    (
        "train a 3B model from scratch on 300B tokens with 64 H100s",
        {
            "workload": "training",
            "parameters_b": 3.0,
            "gpu": "H100",
            "gpu_count": 64,
            "quantity": 300000000000.0,
            "unit": "token",
        },
    ),
    (
        "train a resnet on 2x A100 for 3 days",
        {"workload": "training", "gpu": "A100", "gpu_count": 2, "duration_hours": 72.0, "unread": ["model"]},
    ),
    (
        "training run on 8 x H100 SXM for two weeks",
        {"workload": "training", "gpu": "H100 SXM", "gpu_count": 8, "duration_hours": 336.0, "unread": ["model"]},
    ),
    ("embed 10 million documents", {"workload": "embeddings", "quantity": 10000000.0, "unit": "document"}),
    (
        "embeddings for 2M pages, cheapest in us-east",
        {"workload": "embeddings", "region": "us-east", "quantity": 2000000.0, "unit": "document"},
    ),
    (
        "generate 10,000 images with SDXL",
        {"workload": "image_generation", "model": "SDXL", "quantity": 10000.0, "unit": "image"},
    ),
    (
        "stable diffusion 1.5 for 500 pictures",
        {"workload": "image_generation", "model": "SD 1.5", "quantity": 500.0, "unit": "image"},
    ),
    ("flux images on a 4090", {"workload": "image_generation", "model": "FLUX.1", "gpu": "4090"}),
    (
        "text to video with hunyuan, 200 clips",
        {"workload": "video_generation", "model": "HunyuanVideo", "quantity": 200.0, "unit": "video"},
    ),
    (
        "generate 50 videos with wan 2.1",
        {"workload": "video_generation", "model": "Wan 2.1", "quantity": 50.0, "unit": "video"},
    ),
    (
        "transcribe 500 hours of audio with whisper",
        {"workload": "speech", "model": "Whisper", "quantity": 500.0, "unit": "audio hour"},
    ),
    ("speech to text for 1,200 hours of recordings", {"workload": "speech", "quantity": 1200.0, "unit": "audio hour"}),
    ("jupyter notebook for experiments on a T4", {"workload": "notebook", "gpu": "T4"}),
    ("a notebook with an L4 for 5 hours", {"workload": "notebook", "gpu": "L4", "duration_hours": 5.0}),
    (
        "2x H100 for 24 hours in europe",
        {"gpu": "H100", "gpu_count": 2, "region": "europe", "duration_hours": 24.0, "unread": ["workload"]},
    ),
    (
        "rent eight A100 80GB for a week",
        {"gpu": "A100 80GB", "gpu_count": 8, "duration_hours": 168.0, "unread": ["workload"]},
    ),
    ("A100 80GB under $2 an hour", {"gpu": "A100 80GB", "max_price_per_hour": Decimal("2"), "unread": ["workload"]}),
    ("RTX 4090 max 0.5 usd/hr", {"gpu": "RTX 4090", "max_price_per_hour": Decimal("0.5"), "unread": ["workload"]}),
    (
        "H100, under 3$/h, eu",
        {"gpu": "H100", "region": "eu", "max_price_per_hour": Decimal("3"), "unread": ["workload"]},
    ),
    (
        "4x L40S at most $5.50 per hour in Germany",
        {
            "gpu": "L40S",
            "gpu_count": 4,
            "region": "germany",
            "max_price_per_hour": Decimal("5.5"),
            "unread": ["workload"],
        },
    ),
    (
        "budget of $500 for fine-tuning llama 3 8b",
        {"workload": "fine_tuning", "model": "Llama 3.1 8B", "budget": Decimal("5E+2")},
    ),
    (
        "$1,500 budget, train on 4 h100 for 48h",
        {
            "workload": "training",
            "gpu": "H100",
            "gpu_count": 4,
            "budget": Decimal("1.5E+3"),
            "duration_hours": 48.0,
            "unread": ["model"],
        },
    ),
    (
        "up to $2 per gpu hour, 8x H100",
        {"gpu": "H100", "gpu_count": 8, "max_price_per_hour": Decimal("16"), "unread": ["workload"]},
    ),
    (
        "H100 at no more than $2.5/gpu/hr",
        {"gpu": "H100", "unread": ["price per GPU: say how many GPUs, or filter by `max_price_per_gpu`", "workload"]},
    ),
    (
        "3€ per hour for an A100",
        {"gpu": "A100", "unread": ["price in another currency: give `max_price` in US dollars", "workload"]},
    ),
    ("spot H100s in the US", {"gpu": "H100", "region": "us", "pricing": "spot", "unread": ["workload"]}),
    ("preemptible a100, us-east-1", {"gpu": "A100", "region": "us-east-1", "pricing": "spot", "unread": ["workload"]}),
    ("on-demand h200, not spot", {"gpu": "H200", "pricing": "on_demand", "unread": ["workload"]}),
    (
        "reserved B200 for 6 months",
        {"gpu": "B200", "duration_hours": 4380.0, "pricing": "reserved", "unread": ["workload"]},
    ),
    ("help us find a cheap gpu for inference of llama 3.1 8b", {"workload": "llm_inference", "model": "Llama 3.1 8B"}),
    ("gpu in the US for stable diffusion", {"workload": "image_generation", "region": "us"}),
    (
        "MI300X in france for 12 hours",
        {"gpu": "MI300X", "region": "france", "duration_hours": 12.0, "unread": ["workload"]},
    ),
    ("8 gpus for 2 days", {"gpu_count": 8, "duration_hours": 48.0, "unread": ["workload"]}),
    ("single gpu for half a day", {"gpu_count": 1, "unread": ["workload"]}),
    (
        "between $1 and $3 an hour for an A100",
        {"gpu": "A100", "max_price_per_hour": Decimal("3"), "unread": ["workload"]},
    ),
    ("$1-2/h for l4", {"gpu": "L4", "max_price_per_hour": Decimal("2"), "unread": ["workload"]}),
    ("no gpus in china please, h100", {"gpu": "H100", "unread": ["not china", "workload"]}),
    ("50 cents an hour for t4", {"gpu": "T4", "max_price_per_hour": Decimal("0.5"), "unread": ["workload"]}),
    ("$50 a day for an RTX 3090", {"gpu": "RTX 3090", "max_price_per_hour": Decimal("2.0833"), "unread": ["workload"]}),
    ("serve a 10T model", {"workload": "llm_inference", "parameters_b": 10000.0}),
    ("serve llama 405b in bf16", {"workload": "llm_inference", "model": "Llama 3.1 405B", "precision": "bf16"}),
    (
        "process 5B tokens with llama 3.1 70b overnight",
        {"workload": "llm_inference", "model": "Llama 3.1 70B", "quantity": 5000000000.0, "unit": "token"},
    ),
    ("100 requests per second with a 7b model", {"workload": "llm_inference", "parameters_b": 7.0}),
    (
        "summarize 20k documents with qwen 2.5 14b",
        {"workload": "llm_inference", "model": "Qwen2.5 14B", "quantity": 20000.0, "unit": "document"},
    ),
    ("rtx a6000 48gb for blender rendering", {"workload": "rendering", "gpu": "RTX A6000 48GB"}),
    (
        "render 240 4k frames of a 12.5 gb scene with octane on two 4090s",
        {"workload": "rendering", "quantity": 240.0, "unit": "frame", "scene_gb": 12.5, "gpu": "4090", "gpu_count": 2},
    ),
    (
        "3d rendering farm, 5k frames, scene of 20gb, draft quality",
        {"workload": "rendering", "quality": "draft", "quantity": 5000.0, "unit": "frame", "scene_gb": 20.0},
    ),
    ("ray tracing previews in v-ray", {"workload": "rendering", "quality": "draft"}),
    ("server-side rendering for a web shop", {"unread": ["workload"]}),
    (
        "100 high-quality pictures with flux",
        {"workload": "image_generation", "model": "FLUX.1", "quality": "high", "quantity": 100.0, "unit": "image"},
    ),
    (
        "30 4k clips with wan 2.1 at standard quality",
        {"workload": "video_generation", "model": "Wan 2.1", "quality": "standard", "quantity": 30.0, "unit": "video"},
    ),
    ("whisper large-v3-turbo for dictation", {"workload": "speech", "model": "Whisper turbo"}),
    (
        "faster-whisper, 40 hours of audio",
        {"workload": "speech", "model": "Faster Whisper", "quantity": 40.0, "unit": "audio hour"},
    ),
    ("H100 NVL 94GB for a month", {"gpu": "H100 NVL 94GB", "duration_hours": 730.0, "unread": ["workload"]}),
    ("two b200s near japan", {"gpu": "B200", "gpu_count": 2, "region": "japan", "unread": ["workload"]}),
    (
        "context length 8192, llama 2 7b, 4 simultaneous",
        {"workload": "llm_inference", "model": "Llama 2 7B", "context_tokens": 8192, "concurrency": 4},
    ),
    ("gh200 for 30 min", {"gpu": "GH200", "duration_hours": 0.5, "unread": ["workload"]}),
    ("$0 for an h100", {"gpu": "H100", "unread": ["workload"]}),
    ("0 hours of h100", {"gpu": "H100", "unread": ["workload"]}),
    ("what is the weather", {"unread": ["workload"]}),
    ("", {"unread": ["workload"]}),
    ("deploy my docker image on an A10G", {"workload": "llm_inference", "gpu": "A10G", "unread": ["model"]}),
    ("I need a GPU with 24GB of video memory", {"unread": ["workload"]}),
    (
        "70B model in uk, 16 users, max 4 dollars per hour",
        {
            "workload": "llm_inference",
            "parameters_b": 70.0,
            "region": "uk",
            "max_price_per_hour": Decimal("4"),
            "concurrency": 16,
        },
    ),
    ("A100-SXM4-80GB in the netherlands", {"gpu": "A100-SXM4-80GB", "region": "netherlands", "unread": ["workload"]}),
    (
        "instruction tuning of a 7 billion parameter model on 30 thousand examples for $200",
        {
            "workload": "fine_tuning",
            "parameters_b": 7.0,
            "budget": Decimal("2E+2"),
            "quantity": 30000.0,
            "unit": "example",
        },
    ),
    ("low latency asr api, whisper large, canada", {"workload": "speech", "model": "Whisper", "region": "canada"}),
    (
        "LLM for 10k requests, 512 tokens each",
        {"workload": "llm_inference", "quantity": 10000.0, "unit": "request", "unread": ["model"]},
    ),
    (
        "train bert on 1 million sentences",
        {"workload": "training", "quantity": 1000000.0, "unit": "example", "unread": ["model"]},
    ),
    ("v100 16gb x4 for 10 hrs", {"gpu": "V100 16GB", "gpu_count": 4, "duration_hours": 10.0, "unread": ["workload"]}),
    (
        "spot a100 anywhere but china for an hour",
        {"gpu": "A100", "duration_hours": 1.0, "pricing": "spot", "unread": ["not china", "workload"]},
    ),
    (
        "LoRA sft on 2x RTX 4090, 12k samples, eu, max $1.2/hr",
        {
            "workload": "fine_tuning",
            "method": "lora",
            "gpu": "RTX 4090",
            "gpu_count": 2,
            "region": "eu",
            "max_price_per_hour": Decimal("1.2"),
            "quantity": 12000.0,
            "unit": "example",
            "unread": ["model"],
        },
    ),
    (
        "need 4 gpus with 1M context for qwen2.5 14b",
        {"workload": "llm_inference", "model": "Qwen2.5 14B", "gpu_count": 4, "context_tokens": 1048576},
    ),
    (
        "inferance api for mistral-7b in awq with 100 users per day",
        {"workload": "llm_inference", "model": "Mistral 7B", "precision": "int4"},
    ),
    (
        "host whisper in India at 30 cents per hour",
        {"workload": "speech", "model": "Whisper", "region": "india", "max_price_per_hour": Decimal("0.3")},
    ),
    (
        "fine-tune a 3b model on 400 million tokens over a weekend",
        {"workload": "fine_tuning", "parameters_b": 3.0, "quantity": 400000000.0, "unit": "token"},
    ),
    (
        "one l40s in the uk or france for 6 weeks",
        {"gpu": "L40S", "gpu_count": 1, "region": "uk", "duration_hours": 1008.0, "unread": ["workload"]},
    ),
    (
        "rent h100 us$2.10/hour for 100 hours",
        {"gpu": "H100", "max_price_per_hour": Decimal("2.1"), "duration_hours": 100.0, "unread": ["workload"]},
    ),
    (
        "serve 8x22b mixture with 200k context",
        {"workload": "llm_inference", "parameters_b": 149.6, "context_tokens": 204800},
    ),
    (
        "video upscaling of 40 clips on an a6000",
        {"workload": "video_generation", "gpu": "A6000", "quantity": 40.0, "unit": "video"},
    ),
]
