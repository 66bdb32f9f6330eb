"""An offer is honest: a real price, an id that fits a URL, cleaned words, and money that adds up."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.offers import Offer, Unlistable, clean_text, listed, listed_tokens, offer_id, slug

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SAFE_ID = re.compile(r"[a-z0-9._-]+(:[a-z0-9._-]+){2,3}")
HIDDEN = "\x00\x1b\x7f\x85\u00ad\u061c\u200b\u200f\u202e\u2028\u2060\u2066\u2069\ufeff\ud800\U000e0041\U000e0101"


def offer(**facts: Any) -> Offer:
    """One offer of an imaginary provider."""
    given_facts: dict[str, Any] = {
        "provider": "acme",
        "sku": "h100x8",
        "gpu": "H100 SXM",
        "price_per_hour": "23.92",
        "price_as_of": NOW,
        "source_url": "https://acme.example/prices",
        "seen_at": NOW,
    }
    return listed(**(given_facts | facts))


@pytest.mark.requirement("FR-PROV-003")
def test_an_offer_carries_what_the_provider_said() -> None:
    made = offer(gpu_count=8, memory_gb=81559 / 1024, region="EU-NL-1", tags=("Secure", "GDPR"))
    assert made.id == "acme:h100x8:eu-nl-1"
    assert (made.gpu, made.gpu_raw, made.memory_gb, made.form_factor) == ("H100-SXM", "H100 SXM", 80, "SXM5")
    assert (made.country, made.area) == ("NL", "eu-west")
    assert made.tags == ("gdpr", "secure")
    assert made.price_per_gpu_hour == Decimal("2.99")
    assert (made.availability, made.availability_as_of) == ("unknown", None)


@pytest.mark.parametrize(
    "price", [None, "", 0, "0", 0.0, "0.0000001", -1, "NaN", float("inf"), "-inf", "free", 10**9, "1e30"]
)
def test_a_price_that_is_no_price_is_never_an_offer(price: object) -> None:
    with pytest.raises(Unlistable):
        offer(price_per_hour=price)


@pytest.mark.parametrize("count", [0, -1, 100_001, 1.5, float("nan"), float("inf")])
def test_a_count_that_makes_no_sense_is_refused(count: float) -> None:
    with pytest.raises(Unlistable, match="count"):
        offer(gpu_count=count)


@pytest.mark.parametrize("fraction", [0, -0.5, 1.01, float("nan")])
def test_a_fraction_that_makes_no_sense_is_refused(fraction: float) -> None:
    with pytest.raises(Unlistable, match="fraction"):
        offer(gpu_fraction=fraction)


def test_the_count_comes_from_the_name_when_nothing_else_says_it() -> None:
    assert offer(gpu="8x H100 (80 GB SXM5)").gpu_count == 8
    assert offer(gpu="8x H100 (80 GB SXM5)", gpu_count=4).gpu_count == 4
    assert offer(gpu="H100 SXM").gpu_count == 1
    assert isinstance(offer(gpu_count=8.0).gpu_count, int)


def test_an_unknown_card_is_still_an_offer() -> None:
    made = offer(gpu="Banana 9000", memory_gb=40)
    assert (made.gpu, made.gpu_raw, made.memory_gb) == (None, "Banana 9000", 40)


def test_an_arm_host_says_so() -> None:
    assert offer(gpu="GH200").cpu_arch == "arm64"
    assert offer(gpu="H100 SXM").cpu_arch is None
    assert offer(gpu="H100 SXM", cpu_arch="amd64").cpu_arch == "amd64"


@given(
    st.decimals(min_value="0.000001", max_value=999_999, places=6, allow_nan=False, allow_infinity=False),
    st.integers(min_value=1, max_value=4096),
)
def test_price_per_gpu_times_count_is_the_price(price: Decimal, count: int) -> None:
    made = offer(price_per_hour=price, gpu_count=count)
    assert made.price_per_gpu_hour is not None
    assert made.price_per_hour == price
    # Half a millionth of rounding a GPU, never more.
    assert abs(made.price_per_gpu_hour - price / count) <= Decimal("0.0000005")
    assert made.price_per_gpu_hour_usd == made.price_per_gpu_hour


def test_another_currency_keeps_its_price_and_states_rate_and_date() -> None:
    made = offer(price_per_hour="10", currency=" eur ", gpu_count=4)
    assert (made.price_per_hour, made.currency) == (Decimal("10"), "EUR")
    assert made.exchange_rate is not None
    assert made.exchange_rate_as_of is not None
    assert made.price_per_hour_usd == 10 * made.exchange_rate
    assert made.price_per_gpu_hour == Decimal("2.5")
    assert made.price_per_gpu_hour_usd == Decimal("2.5") * made.exchange_rate


def test_dollars_state_no_rate() -> None:
    made = offer()
    assert (made.exchange_rate, made.exchange_rate_as_of, made.price_per_hour_usd) == (None, None, made.price_per_hour)


def test_a_currency_without_a_rate_is_refused() -> None:
    with pytest.raises(Unlistable, match="no exchange rate"):
        offer(currency="AKT")


@given(st.text(max_size=400), st.text(max_size=400), st.text(max_size=400))
def test_every_id_fits_one_segment_of_a_url(provider: str, sku: str, region: str) -> None:
    for pricing in ("on_demand", "spot"):
        made = offer_id(provider, sku, region, pricing)
        assert SAFE_ID.fullmatch(made)
        assert len(made) < 400


def test_spot_and_on_demand_of_one_product_have_two_ids() -> None:
    assert offer().id == "acme:h100x8:global"
    assert offer(pricing="spot").id == "acme:h100x8:global:spot"


@pytest.mark.parametrize(("one", "other"), [("東京", "大阪"), ("a" * 200, "a" * 201), ("+", "++")])
def test_names_without_safe_letters_or_too_long_stay_apart(one: str, other: str) -> None:
    assert slug(one) != slug(other)
    assert slug(one) == slug(one)


@given(st.text(max_size=500))
def test_a_slug_is_stable(text: str) -> None:
    assert slug(slug(text)) == slug(text)


@given(st.text(alphabet=st.characters(), max_size=600))
def test_cleaned_text_is_one_bounded_line_that_encodes(text: str) -> None:
    cleaned = clean_text(f"a{text}{HIDDEN}z")
    assert len(cleaned) <= 200
    assert not set(cleaned) & set(HIDDEN)
    assert "\n" not in cleaned
    cleaned.encode("utf-8")


@pytest.mark.requirement("NFR-SEC5")
def test_hidden_characters_never_reach_an_offer() -> None:
    made = offer(
        gpu=f"H100{HIDDEN} SXM",
        name=f"big{HIDDEN}\nbox",
        region=f"eu{HIDDEN}-nl-1",
        tags=(f"se{HIDDEN}cure", HIDDEN, "", "secure", "Secure"),
        interconnect=f"NV{HIDDEN}Link",
        availability="available",
        availability_evidence=f"stock {HIDDEN} high",
    )
    shown = " ".join(
        (
            made.id,
            made.name,
            made.gpu_raw,
            made.region,
            *made.tags,
            str(made.interconnect),
            str(made.availability_evidence),
        )
    )
    assert not set(shown) & set(HIDDEN)
    assert made.tags == ("se cure", "secure")
    assert made.availability_as_of == NOW


def test_figures_that_are_no_numbers_are_left_out() -> None:
    made = offer(
        cpu_cores=float("nan"), reliability=float("inf"), ram_gb=240.0, spot_price="n/a", egress_price_per_gb=0
    )
    assert (made.cpu_cores, made.reliability, made.ram_gb) == (None, None, 240.0)
    assert (made.spot_price, made.egress_price_per_gb) == (None, None)
    assert offer(spot_price=0.1 + 0.2).spot_price == Decimal("0.3")


def tokens(**facts: Any) -> Offer:
    """One model sold by the token."""
    known: dict[str, Any] = {
        "provider": "acme",
        "model": "meta/llama-3.1-8b",
        "price_per_million_input_tokens": "0.05",
        "price_per_million_output_tokens": "0.08",
        "price_as_of": NOW,
        "source_url": "https://acme.example/models",
        "seen_at": NOW,
    }
    return listed_tokens(**(known | facts))


def test_a_model_sold_by_the_token_has_no_hourly_price() -> None:
    made = tokens(tags=("Chat", "chat", "\u200b"))
    assert (made.pricing, made.billing_unit, made.price_source) == ("token", "token", "token_equivalent")
    assert (
        made.price_per_hour is made.price_per_hour_usd is made.price_per_gpu_hour is made.price_per_gpu_hour_usd is None
    )
    assert made.gpu is None
    assert made.price_per_million_output_tokens == Decimal("0.08")
    assert made.tags == ("chat",)
    assert made.id == "acme:meta-llama-3.1-8b:global:token"


@pytest.mark.parametrize("paid", [(0, 0), (-1, 1), (1, -1), ("-1", "-1"), ("NaN", 1), ("1e12", 1)])
def test_a_token_price_that_is_no_price_is_refused(paid: tuple[object, object]) -> None:
    with pytest.raises(ValueError, match=r"token price|amount"):
        tokens(price_per_million_input_tokens=paid[0], price_per_million_output_tokens=paid[1])
