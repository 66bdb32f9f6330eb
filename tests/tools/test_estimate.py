"""Sizing a workload: words and fields in; memory, cards, hours and costs out."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market import gpus
from market.context import Market
from market.errors import ValidationFailed
from tests.market.offer_samples import made
from tests.tools.conftest import ask, stocked
from tools.intake import Workload
from tools.placement import speed
from tools.sizing import Job, size

SERVED = "serve Llama 3.1 8B in bf16 with 8k context"


def _llm(**facts: Any) -> Job:
    known: dict[str, Any] = {"workload": "llm_inference", "model": "Llama 3.1 8B", "precision": "bf16"}
    return Job(**(known | facts))


@pytest.mark.requirement("FR-MATH-007")
@pytest.mark.parametrize(
    ("model", "precision", "weights_gb"),
    [
        ("Llama 3.1 8B", "bf16", 16.06),
        ("meta-llama/Meta-Llama-3.1-70B-Instruct", "q4_k_m", 42.5),
        ("DeepSeek-R1", "fp8", 671),
        ("mixtral 8x7b", "bf16", 93.4),
        ("Qwen3-4B", "int4", 2.2),
    ],
)
def test_weights_of_named_models_are_within_five_percent(model: str, precision: str, weights_gb: float) -> None:
    parts = size(_llm(model=model, precision=precision)).memory
    assert parts.weights_gb == pytest.approx(weights_gb, rel=0.05)


@pytest.mark.parametrize(
    ("job", "active_b", "total_b"),
    [
        (_llm(model="Mixtral 8x22B"), 39, 141),
        (_llm(model="some 8x7B mixture"), 14, 47.6),
        (_llm(model="Foo-30B-A3B"), 3, 30),
        (_llm(model=None, parameters_b=13.0), None, 13),
        (_llm(model="Foo-13B-chat"), None, 13),
    ],
)
def test_a_model_is_as_large_as_its_name_says(job: Job, active_b: float | None, total_b: float) -> None:
    shape = size(job).work.shape
    assert shape is not None
    assert shape.parameters / 1e9 == pytest.approx(total_b)
    assert (shape.active_parameters or 0) / 1e9 == pytest.approx(active_b or 0)


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (_llm(model="Foobar"), "not known and its name carries no size"),
        (_llm(model=None), "needs a model"),
        (_llm(model="Foo 10T"), "ten trillion"),
        (_llm(model=None, parameters_b=10_000.0), "ten trillion"),
        (_llm(model=None, parameters_b=0.0), "above 0"),
        (Job("training"), "needs a model"),
    ],
)
def test_what_cannot_be_sized_says_what_is_missing(job: Job, said: str) -> None:
    with pytest.raises(ValidationFailed, match=said) as caught:
        size(job)
    assert caught.value.next_step


async def test_the_gate_refuses_ten_trillion_parameters_and_zero_hours(market: Market) -> None:
    for wrong in ({"parameters_b": 10_000}, {"duration_hours": 0}, {"quantity": -1}, {"max_price": 0}):
        with pytest.raises(ValidationFailed, match=next(iter(wrong))):
            await ask(market, "estimate_workload", workload="llm_inference", **wrong)
    with pytest.raises(ValidationFailed, match="ten trillion"):
        await ask(market, "estimate_workload", text="serve a 10T model")
    with pytest.raises(ValidationFailed, match="Neither words nor a workload"):
        await ask(market, "estimate_workload")
    with pytest.raises(ValidationFailed, match="not clear"):
        await ask(market, "estimate_workload", text="hello")


async def test_a_field_wins_over_the_words_and_models_are_never_mixed(market: Market) -> None:
    estimate = await ask(market, "estimate_workload", text=SERVED, model="Mistral 7B", context_tokens=1_000)
    assert (estimate.understood.model, estimate.understood.context_tokens) == ("Mistral 7B", 1_000)
    by_size = await ask(market, "estimate_workload", text=SERVED, parameters_b=70)
    assert (by_size.understood.model, by_size.understood.parameters_b) == (None, 70)
    assert by_size.min_vram_gb > 140


async def test_fits_hold_the_work_and_cost_is_the_sum_of_its_items(market: Market) -> None:
    disk = Decimal("0.10")
    await stocked(
        market,
        made("aws:h100:us", "4", storage_price_per_gb_month=disk),
        made("aws:4090:us", "0.6", gpu="RTX-4090", memory_gb=24.0, min_rental_minutes=600),
        made("aws:t4:us", "0.2", gpu="T4", memory_gb=16.0),
        made("aws:t4x2:us", "0.4", gpu="T4", memory_gb=16.0, gpu_count=2),
        made("aws:mig:us", "0.1", gpu_fraction=1 / 7, memory_gb=10.0),
        made("aws:gone:us", "0.1", availability="unavailable"),
        made("aws:h100:us:spot", "1", pricing="spot"),
    )
    estimate = await ask(market, "estimate_workload", text=SERVED + " for 5 hours")
    fits = {fit.offer_id: fit for fit in estimate.fits}
    assert set(fits) == {"aws:h100:us", "aws:4090:us", "aws:t4x2:us"}
    for fit in fits.values():
        assert fit.total_memory_gb >= estimate.min_vram_gb
        assert fit.cost_low == sum(item.low for item in fit.cost)
        assert fit.cost_high == sum(item.high for item in fit.cost)
        assert fit.tokens_per_second == sorted(fit.tokens_per_second)
    assert fits["aws:4090:us"].cost_low == Decimal(6)  # ten hours are the least it is rented for
    assert [item.item for item in fits["aws:h100:us"].cost] == ["GPU time", "100 GB disk"]
    costs = [fit.cost_low for fit in estimate.fits]
    assert costs == sorted(costs)
    assert estimate.estimated_cost_range == [min(costs), max(fit.cost_high for fit in estimate.fits)]
    assert estimate.recommended_gpu_tiers[0] == f"{estimate.fits[0].gpu_count}x {estimate.fits[0].gpu}"


async def test_spot_is_counted_only_when_asked_for(market: Market) -> None:
    await stocked(market, made("aws:h100:us", "4"), made("aws:h100:us:spot", "1", pricing="spot"))

    async def offers(**more: Any) -> list[str]:
        return [fit.offer_id for fit in (await ask(market, "estimate_workload", text=SERVED, **more)).fits]

    assert await offers() == ["aws:h100:us"]
    assert await offers(pricing="spot") == ["aws:h100:us:spot"]
    words = await ask(market, "estimate_workload", text=SERVED + ", preemptible")
    assert [fit.offer_id for fit in words.fits] == ["aws:h100:us:spot"]


async def test_a_count_without_an_offer_gives_way_to_the_next(market: Market) -> None:
    await stocked(market, made("aws:b200x8:us", "40", gpu="B200", memory_gb=180.0, gpu_count=8))
    (fit,) = (await ask(market, "estimate_workload", text=SERVED)).fits
    assert (fit.gpu, fit.gpu_count) == ("B200", 8)


async def test_nothing_that_fits_says_which_limit_could_give_way(market: Market) -> None:
    await stocked(market, made("aws:h100:us", "4"))
    tight = await ask(market, "estimate_workload", text=SERVED + " on an A100 in the EU under $1/h")
    assert tight.fits == []
    assert tight.warnings[0].endswith(
        "within region eu, max_price 1.0000, gpu A100; loosen one of them, or take a smaller `precision`."
    )
    huge = await ask(market, "estimate_workload", text="serve llama 3.1 405b in fp32")
    assert "smaller model" in huge.warnings[0]
    with pytest.raises(ValidationFailed, match="germany"):
        await ask(market, "estimate_workload", text=SERVED, region="germny")


async def test_a_job_of_moments_still_costs_something(market: Market) -> None:
    await stocked(market, made("aws:h100:us", "0.01"))
    estimate = await ask(market, "estimate_workload", text=SERVED, quantity=1, unit="token")
    assert estimate.fits[0].cost_low > 0
    assert estimate.estimated_cost_range[0] > 0


async def test_hours_say_what_they_take_for_granted(market: Market) -> None:
    await stocked(market, made("aws:h100:us", "4"))
    tuned = await ask(market, "estimate_workload", text="fine-tune Llama 3.1 8B with qlora on 50k examples")
    assert {"512 tokens for each example", "3 passes over the examples"} <= set(tuned.assumptions)
    low, likely, high = tuned.fits[0].hours
    # 6·N·D (an adapter spares the gradients of frozen weights, recomputing adds them back) over 13 to 40 % of the peak:
    # from what a whole published run of this size came to, to a run at its best
    work = 6 * 8.03e9 * 50_000 * 512 * 3
    assert (low, high) == pytest.approx((work / (989.4e12 * 0.4 * 3600), work / (989.4e12 * 0.13 * 3600)), rel=0.01)
    assert low < likely < high
    plain = await ask(market, "estimate_workload", text=SERVED)
    assert plain.missing == ["duration_hours or quantity (for hours and cost)", "concurrency"]
    assert plain.estimated_cost_range is None


@pytest.mark.parametrize(
    ("text", "least", "what"),
    [
        ("generate images with flux", 25.8, "FLUX.1 in bf16: text encoder offloaded"),
        ("high quality images with flux", 25.8, "FLUX.1 in bf16"),
        ("standard quality images with flux", 15, "FLUX.1 in fp8"),
        ("draft quality images with flux", 9, "FLUX.1 in int4"),
        ("generate images", 8, "SDXL, as no model was named"),
        ("video with wan 2.1", 80, "Wan 2.1 in bf16: 720p, 5 s, all resident"),
        ("video with wan 2.1 in fp8", 24, "Wan 2.1 in fp8: 720p, 5 s, offloaded"),
        ("transcribe 10 hours of audio with whisper", 10, "Whisper in fp16: reference engine"),
        ("faster-whisper", 4.5, "faster-whisper"),
        ("embed 1M documents", 2.2, "Qwen3 0.6B, as no model was named"),
        ("a jupyter notebook", 18.8, "Mistral 7B, as no model was named"),
        ("render a scene of 20 gb", 21, "frames of 2.1 megapixels"),
    ],
)
async def test_other_work_takes_what_its_users_published(market: Market, text: str, least: float, what: str) -> None:
    estimate = await ask(market, "estimate_workload", text=text)
    assert estimate.min_vram_gb == pytest.approx(least, rel=0.01)
    assert any(what in said for said in estimate.assumptions)


NAMED = {"llm_inference": "Llama 3.1 70B", "fine_tuning": "Qwen3 14B", "training": "Llama 3.2 1B"}
MUCH = {"llm_inference": 1e5, "fine_tuning": 1e4, "training": 1e5, "embeddings": 1e6, "image_generation": 500,
        "video_generation": 20, "speech": 100, "rendering": 240, "notebook": 1}  # fmt: skip


@pytest.mark.requirement("PROP-13")
@pytest.mark.requirement("FR-MATH-007")
async def test_every_kind_of_work_gets_a_gpu_and_a_cost_on_the_published_tables(seeded: Market) -> None:
    every = product(get_args(Workload), (None, "draft", "standard", "high"), ("named", "unnamed"))
    for kind, quality, way in every:
        model = NAMED.get(kind) if way == "named" else None
        asked = {"workload_type": kind, "model_name": model, "quality": quality}
        estimate = await ask(seeded, "estimate_workload", **asked, quantity=MUCH[kind], duration_hours=12)
        assert estimate.recommended_gpu_tiers
        assert 0 < estimate.min_vram_gb <= estimate.recommended_vram_gb
        low, high = estimate.estimated_cost_range
        assert 0 < low <= high
        assert estimate.assumptions
        assert ("model" in (estimate.missing or [])) == (model is None and kind != "rendering")
        for fit in estimate.fits:
            assert fit.hours == [12, 12, 12]
            assert fit.hours_by_part == {"as asked": [12, 12, 12]}
            assert (fit.split is None) == (fit.gpu_count == 1)


@pytest.mark.requirement("FR-MATH-007")
@pytest.mark.parametrize("kind", get_args(Workload))
async def test_better_quality_never_needs_less(market: Market, kind: str) -> None:
    sizes = [
        (await ask(market, "estimate_workload", workload=kind, model=NAMED.get(kind), quality=quality)).min_vram_gb
        for quality in ("draft", "standard", "high")
    ]
    assert sizes == sorted(sizes)
    if kind in ("llm_inference", "fine_tuning", "embeddings", "notebook", "video_generation"):
        assert sizes[0] < sizes[-1]


async def test_a_field_wins_over_what_quality_would_choose(market: Market) -> None:
    exact = await ask(market, "estimate_workload", text=SERVED, quality="draft")
    assert exact.memory_gb["weights"] == 16.06
    assert "quality draft: gives way to `precision` bf16" in exact.assumptions
    tuned = await ask(market, "estimate_workload", text="lora on llama 3.1 8b, high quality")
    assert "quality high: gives way to `method` lora" in tuned.assumptions
    chosen = await ask(market, "estimate_workload", text="fine-tune llama 3.1 8b", quality="draft")
    assert any(said.startswith("qlora training with AdamW") for said in chosen.assumptions)


async def test_hours_are_itemised_and_their_parts_add_up(market: Market) -> None:
    await stocked(market, made("aws:h100:us", "4"))
    estimate = await ask(market, "estimate_workload", text=SERVED, quantity=1_000_000, unit="request")
    (fit,) = estimate.fits
    assert set(fit.hours_by_part) == {"reading prompts", "generating"}
    for at in range(3):
        assert fit.hours[at] == pytest.approx(sum(part[at] for part in fit.hours_by_part.values()), abs=0.002)
    assert "512 tokens read and 512 tokens generated for each request" in estimate.assumptions
    assert fit.most_requests > 1


async def test_counts_are_those_really_sold_and_every_card_holds_its_part(market: Market) -> None:
    a100 = {"gpu": "A100-SXM4-80GB", "memory_gb": 80.0}
    await stocked(market, made("aws:two:us", "2", **a100, gpu_count=2), made("aws:three:us", "3", **a100, gpu_count=3))
    served = await ask(market, "estimate_workload", text="serve llama 3.1 70b in bf16")
    (fit,) = served.fits
    # 141 GB of weights are more than two cards give to a model; three cannot share its heads, so it is cut by layers
    assert (fit.gpu_count, fit.split) == (3, "layers")
    assert fit.total_memory_gb >= served.min_vram_gb
    whole = await ask(market, "estimate_workload", text="render a scene of 100 gb")
    assert whole.fits == []
    assert "No offer of up to 3 GPUs holds 101 GB" in whole.warnings[0]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"workload": "image_generation", "model": "Foo Diffusion 12B"}, "not known"),
        ({"workload": "image_generation", "model": "whisper"}, "is for speech, not image_generation"),
        ({"workload": "embeddings", "model": "Foobar"}, "carries no size"),
        ({"workload": "llm_inference", "measured_per_second": 10}, "needs the card"),
        ({"workload": "llm_inference", "measured_per_second": 10, "measured_on": "P100"}, "needs the card"),
        ({"workload": "llm_inference", "measured_per_second": 320, "measured_on": "H100-SXM"}, "at most 2"),
        ({"workload": "speech", "measured_per_second": 1e-300, "measured_on": "L4"}, "must be at least 0.000001"),
        ({"workload": "rendering", "scene_gb": 0}, "scene_gb"),
        ({"workload": "rendering", "scene_gb": 1e-320}, "cannot be sized: scene_gb must lie between"),
        ({"workload": "fine_tuning", "quantity": 1e-300}, "cannot be sized: amount must lie between"),
        ({"workload": "training", "parameters_b": 1e-320}, "cannot be sized: parameters must lie between"),
        ({"workload": "notebook", "duration_hours": 1e-320}, "cannot be sized: duration_hours must lie between"),
        ({"workload": "rendering", "quality": "best"}, "quality"),
    ],
)
async def test_what_cannot_be_is_refused_with_what_would_help(market: Market, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationFailed, match=said) as caught:
        await ask(market, "estimate_workload", **asked)
    assert caught.value.next_step


async def test_items_a_second_come_from_arithmetic_or_from_a_measurement_and_else_stay_unsaid(market: Market) -> None:
    await stocked(market, made("aws:h100:us", "4"), made("aws:a100:us", "2", gpu="A100-SXM4-80GB"))

    async def rates(**asked: Any) -> dict[str, Any]:
        fits = (await ask(market, "estimate_workload", **asked)).fits
        return {fit.gpu: fit.items_per_second for fit in fits}

    flux = await rates(text="1000 images with flux")
    # 2 · 12e9 · 4096 tokens · 30 steps at 0.4 to 0.6 of the peak
    assert flux["A100-SXM4-80GB"] == pytest.approx([share * 312e12 / 2.949e15 for share in (0.4, 0.5, 0.6)], rel=0.01)
    unsaid = await ask(market, "estimate_workload", text="1000 images with sdxl")
    assert [fit.hours for fit in unsaid.fits] == [None, None]
    assert any("measured_per_second" in said for said in unsaid.missing)
    carried = await rates(text="1000 images with sdxl", measured_per_second=0.5, measured_on="A100-SXM4-80GB")
    assert carried["A100-SXM4-80GB"] == [0.5, 0.5, 0.5]
    low, likely, high = carried["H100-SXM"]
    assert (low, high) == pytest.approx((0.5 * 3350 / 2039, 0.5 * 989.4 / 312), rel=0.01)
    assert low < likely < high
    texts = await rates(workload="embeddings", quantity=1e6)
    assert texts["H100-SXM"] == sorted(texts["H100-SXM"])
    frames = await rates(workload="rendering", quantity=10, measured_per_second=0.1, measured_on="RTX-4090")
    assert frames["A100-SXM4-80GB"][0] < 0.1


async def test_a_measured_speed_gives_hours_and_never_passes_the_roofline(market: Market) -> None:
    await stocked(market, made("aws:h100:us", "4"), made("aws:l4:us", "1", gpu="L4", memory_gb=24.0))
    asked = {"text": SERVED, "quantity": 1_000_000, "unit": "token", "measured_per_second": 170}
    estimate = await ask(market, "estimate_workload", **asked, measured_on="H100-SXM")
    speeds = {fit.gpu: fit.tokens_per_second for fit in estimate.fits}
    assert speeds["H100-SXM"] == [170, 170, 170]
    assert speeds["L4"][-1] <= 300 / 16.06
    hours = next(fit.hours for fit in estimate.fits if fit.gpu == "H100-SXM")
    assert hours[1] == pytest.approx(1_000_000 / 170 / 3600, abs=0.001)
    assert any("were measured on one H100-SXM" in said for said in estimate.assumptions)


async def test_a_context_beyond_the_model_is_pointed_out(market: Market) -> None:
    estimate = await ask(market, "estimate_workload", text="serve llama 2 7b with 32k context")
    assert "Llama 2 7B was made for contexts of up to 4096 tokens" in estimate.assumptions
    plain = await ask(market, "estimate_workload", text="serve llama 2 7b")
    assert "a context of 4096 tokens" in plain.assumptions


def test_a_mixture_serving_many_reads_more_than_its_active_part() -> None:
    card = gpus.catalogue()["H200-SXM"]
    job = _llm(model="DeepSeek R1", precision="fp8", context_tokens=1_000)
    crowd = _llm(model="DeepSeek R1", precision="fp8", context_tokens=1_000, concurrency=64)
    alone, together = (speed(size(each), card, 8) for each in (job, crowd))
    assert alone is not None
    assert together is not None
    assert together.ceiling < 64 * alone.ceiling * 0.3
    assert alone.likely < together.likely < 64 * alone.likely


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(["Llama 3.1 8B", "Llama 3.1 70B", "DeepSeek R1", "Mixtral 8x7B"]),
    st.sampled_from(["bf16", "fp8", "q4_k_m", "int4", "fp32"]),
    st.sampled_from(sorted(gpus.catalogue())),
    st.integers(1, 8),
    st.integers(1, 100_000),
    st.integers(1, 10_000_000),
)
def test_no_speed_is_above_what_the_memory_can_feed(
    model: str, precision: str, gpu: str, count: int, streams: int, context: int
) -> None:
    job = _llm(model=model, precision=precision, concurrency=streams, context_tokens=context)
    card = gpus.catalogue()[gpu]
    sized = size(job)
    found = speed(sized, card, count)
    if found is None:
        assert not (card.memory_bandwidth_gbps and (card.bf16_tflops or card.fp16_tflops))
        return
    assert found.low <= found.likely <= found.high <= found.ceiling
    assert sized.work.shape is not None
    least_read = sized.work.shape.active * 0.56
    assert found.ceiling <= streams * count * (card.memory_bandwidth_gbps or 0) * 1e9 / least_read
