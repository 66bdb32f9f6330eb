"""Every provider's region has a country and an area, and a caller's word selects exactly the places it means."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.regions import EU_MEMBERS, Place, areas, is_area, known_terms, locate, nearest, selects

DATA = Path(os.environ.get("GPUBROKER_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


def recorded() -> set[tuple[str, str]]:
    """Every (provider, region) of the recorded catalogues; the test is skipped where they are not."""
    if not DATA.exists():
        pytest.skip(f"no recorded catalogues at {DATA}: regions are not checked against them")
    pairs: set[tuple[str, str]] = set()
    for path in (DATA / "catalogue").glob("*.csv.gz"):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            pairs |= {(path.name.split("_")[0], row["Region"]) for row in csv.DictReader(lines)}
    with (DATA / "list_prices.csv").open(encoding="utf-8") as lines:
        pairs |= {(row["provider"], row["region"]) for row in csv.DictReader(lines)}
    with gzip.open(DATA / "recent_offers_2026.csv.gz", "rt", encoding="utf-8") as lines:
        pairs |= {(row["provider"], row["region"]) for row in csv.DictReader(lines)}
    return {pair for pair in pairs if pair[1]}


def test_recorded_regions_are_in_a_country() -> None:
    pairs = recorded()
    unplaced = {pair for pair in pairs if locate(*pair).country is None}
    assert len(pairs) > 150
    assert len(unplaced) / len(pairs) <= 0.02, unplaced
    assert all(locate(*pair).area in areas() for pair in pairs - unplaced)


@pytest.mark.parametrize(
    ("provider", "region", "country", "area"),
    [
        ("aws_ec2", "us-east-1", "US", "us-east"), ("aws", "us-west-2-phx-1", "US", "us-west"),
        ("aws", "ap-southeast-3", "ID", "asia-southeast"), ("alibaba", "ap-southeast-3", "MY", "asia-southeast"),
        ("aws", "me-central-1", "AE", "middle-east"), ("gcp", "me-central1", "QA", "middle-east"),
        ("aws", "eu-west-1", "IE", "eu-west"), ("alibaba", "eu-west-1", "GB", "uk"),
        ("aws", "us-east-1a", "US", "us-east"), ("gcp", "us-central1-a", "US", "us-central"),
        ("azure", "WestUS3", "US", "us-west"), ("azure_ml", "swedencentral", "SE", "eu-north"),
        ("oracle_oci", "uk-london-1", "GB", "uk"), ("oci", "sa-saopaulo-1", "BR", "latin-america"),
        ("nebius", "eu-north1", "FI", "eu-north"), ("nebius", "me-west1", "IL", "middle-east"),
        ("lambda", "us-midwest-1", "US", "us-central"), ("lambda", "asia-south-1", "IN", "india"),
        ("runpod", "EU-RO-1", "RO", "eu-east"), ("runpod", "EUR-IS-1", "IS", "europe-other"),
        ("runpod", "EUR-NO-1", "NO", "europe-other"), ("runpod", "US-KS-2", "US", "us-central"),
        ("runpod", "US-DE-1", "US", "us-east"), ("runpod", "US-CA-2", "US", "us-west"),
        ("runpod", "CA-MTL-3", "CA", "canada"), ("runpod", "OC-AU-1", "AU", "oceania"),
        ("runpod", "SEA-SG-1", "SG", "asia-southeast"), ("runpod", "AP-JP-1", "JP", "asia-east"),
        ("runpod", "US", "US", "us"), ("runpod", "NO", "NO", "europe-other"), ("runpod", "DE", "DE", "eu-central"),
        ("vast", "Washington, US", "US", "us-west"), ("vast", ", US", "US", "us"),
        ("vast", "Georgia, US", "US", "us-east"),
        ("vast", "Georgia, GE", "GE", "central-asia"), ("vast", "France, FR, EU", "FR", "eu-west"),
        ("vast", "Yutakachō, Shinagawa District, Tokyo, JP", "JP", "asia-east"),
        ("vast", "Hafnarfjarðarkaupstaður, IS", "IS", "europe-other"), ("vast", "Ontario, CA", "CA", "canada"),
        ("vultr", "ewr", "US", "us-east"), ("vultr", "icn", "KR", "asia-east"),
        ("digitalocean", "tor1", "CA", "canada"),
        ("hyperstack", "NORWAY-1", "NO", "europe-other"), ("ovhcloud", "BHS", "CA", "canada"),
        ("ovhcloud", "DE1", "DE", "eu-central"), ("scaleway", "fr-par-1", "FR", "eu-west"),
        ("paperspace", "East Coast (NY2)", "US", "us-east"), ("ibm", "eu-gb", "GB", "uk"),
        ("verda", "FIN-03", "FI", "eu-north"), ("datacrunch", "ICE-01", "IS", "europe-other"),
        ("cudo", "se-smedjebacken-1", "SE", "eu-north"), ("cudo", "gb-bournemouth-1", "GB", "uk"),
        ("fluidstack", "norway_4_eu", "NO", "europe-other"), ("fluidstack", "generic_1_canada", "CA", "canada"),
        ("shadeform", "montreal-canada-2", "CA", "canada"), ("shadeform", "saltlakecity-usa-1", "US", "us-west"),
        ("jarvislabs", "IN2", "IN", "india"), ("jarvislabs", "india-noida-01", "IN", "india"),
        ("exoscale", "ch-gva-2", "CH", "europe-other"), ("seeweb", "it-fr2", "IT", "eu-south"),
        ("tensordock", "Manassas, Virginia, United States", "US", "us-east"), ("prime", "united_states", "US", "us"),
        ("scp", "KOREA-WEST-1-SCP-B001", "KR", "asia-east"), ("anyone", "global", None, None),
        ("anyone", "", None, None),
        ("anyone", "any", None, None), ("anyone", "sa-east-1", None, None), ("prime", "eu_north", None, "eu-north"),
    ],
)  # fmt: skip
def test_a_region_code_is_placed(provider: str, region: str, country: str | None, area: str | None) -> None:
    assert locate(provider, region) == Place(region, country, area)


def test_a_country_the_provider_states_is_believed() -> None:
    assert locate("anyone", "dc-7", "NO") == Place("dc-7", "NO", "europe-other")
    assert locate("anyone", "dc-7", "Germany").country == "DE"
    assert locate("runpod", "EU-RO-1", "CZ").country == "CZ"
    assert locate("aws", "us-east-1", "US").area == "us-east"
    assert locate("anyone", "dc-7", "atlantis") == Place("dc-7", None, None)


@pytest.mark.requirement("FR-PROV-004")
@pytest.mark.parametrize(
    ("term", "chosen", "left"),
    [
        ("eu", ["EU-RO-1", "EU-FR-1"], ["EUR-NO-1", "EUR-IS-1", "US-KS-2"]),
        ("EU", ["EU-RO-1"], ["EUR-NO-1"]),
        ("european union", ["EU-CZ-1"], ["EUR-NO-1"]),
        ("europe", ["EU-RO-1", "EUR-NO-1"], ["US-KS-2"]),
        ("eea", ["EU-RO-1", "EUR-NO-1", "EUR-IS-1"], ["US-KS-2"]),
        ("nordics", ["EU-SE-1", "EUR-NO-1"], ["EU-RO-1"]),
        ("us", ["US-KS-2", "US-GA-1", "US"], ["CA-MTL-1"]),
        ("usa", ["US-KS-2", "US"], ["CA-MTL-1"]),
        ("United States", ["US-KS-2"], ["CA-MTL-1"]),
        ("us-east", ["US-GA-1", "US-DE-1"], ["US-KS-2", "US"]),
        ("US East", ["US-GA-1"], ["US-CA-2"]),
        ("us_west", ["US-CA-2"], ["US-GA-1"]),
        ("germany", ["DE"], ["US-DE-1"]),
        ("de", ["DE"], ["US-DE-1"]),
        ("ca", ["CA-MTL-1"], ["US-CA-2"]),
        ("north america", ["US-CA-2", "CA-MTL-1"], ["EU-RO-1"]),
        ("asia", ["AP-JP-1", "AP-IN-1", "SEA-SG-1"], ["OC-AU-1", "EU-RO-1"]),
        ("apac", ["AP-JP-1", "OC-AU-1"], ["US-KS-2"]),
        ("emea", ["EU-RO-1", "EUR-NO-1"], ["US-KS-2", "AP-JP-1"]),
        ("EU-RO-1", ["EU-RO-1"], ["EU-CZ-1"]),
        ("eu-ro-1", ["EU-RO-1"], ["EU-CZ-1"]),
        ("eu-ro", [], ["EU-RO-1"]),
        ("norway", ["EUR-NO-1"], ["EU-SE-1"]),
    ],
)  # fmt: skip
def test_a_callers_word_selects_the_places_it_means(term: str, chosen: list[str], left: list[str]) -> None:
    assert [region for region in chosen if not selects(term, locate("runpod", region))] == []
    assert [region for region in left if selects(term, locate("runpod", region))] == []


def test_the_united_kingdom_has_two_names_and_is_not_in_the_union() -> None:
    london = locate("aws", "eu-west-2")
    assert all(selects(term, london) for term in ("uk", "gb", "United Kingdom", "england", "europe", "emea"))
    assert not selects("eu", london)
    assert not selects("eu-west", london)
    assert not selects("eu", locate("gcp", "europe-west6"))


def test_a_raw_region_that_is_also_a_country_means_both() -> None:
    assert selects("de", locate("ovhcloud", "DE"))
    assert selects("de", locate("aws", "eu-central-1"))
    assert selects("us-east", locate("ibm", "us-east"))
    assert selects("us-east", locate("aws", "us-east-1"))
    assert not selects("us-east-1", locate("aws", "us-east-2"))


def test_an_unknown_place_is_in_nothing_but_its_own_name() -> None:
    nowhere = locate("anyone", "dc-7")
    assert selects("dc-7", nowhere)
    assert [term for term in known_terms() if selects(term, nowhere)] == []
    assert not selects("eu", locate("prime", "eu_north"))
    assert selects("europe", locate("prime", "eu_north"))
    assert not selects("", Place("", None, None))


def test_the_union_has_its_27_members() -> None:
    assert len(EU_MEMBERS) == 27
    for code in EU_MEMBERS:
        place = locate("anyone", "x", code)
        assert selects("eu", place)
        assert selects("europe", place)
        assert place.area is not None
        assert place.area.startswith("eu-")
    assert not {"GB", "NO", "CH", "IS"} & EU_MEMBERS


def test_every_term_offered_is_understood_and_misspelled_ones_have_near_ones() -> None:
    assert all(is_area(term) for term in known_terms())
    assert {"eu", "europe", "us-east", "germany", "united-kingdom", "asia-east"} <= set(known_terms())
    assert not is_area("us-east-1")
    assert not is_area("bananaland")
    assert nearest("germny")[0] == "germany"
    assert nearest("xyzzy") == []


@given(st.text(max_size=120), st.text(max_size=120), st.one_of(st.none(), st.text(max_size=20)))
def test_placing_never_fails(provider: str, region: str, country: str | None) -> None:
    place = locate(provider, region, country)
    assert place.region == region
    assert place.area is None or place.area in areas()
    assert place.country is None or place.area is not None


@given(st.text(max_size=60), st.sampled_from(sorted(EU_MEMBERS)))
def test_selecting_is_pure(term: str, country: str) -> None:
    place = locate("anyone", "x", country)
    assert selects(term, place) == selects(term, place)


def test_letters_set_apart_spell_no_place() -> None:
    assert locate("anyone", "p r i c e _ p e r _ h o u r : 0 . 0 1").country is None
    assert locate("anyone", "S\u200ba\u200bl\u200bt Lake City").country is None
