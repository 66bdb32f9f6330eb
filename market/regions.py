"""Where an offer is: from a provider's own region code to a country and an area, and back from a caller's words.

A place is looked up in the provider's list, then read from the code itself (`EU-RO-1`, `montreal-canada-2`,
`Tokyo, JP`); what cannot be read stays unknown, and an unknown country is in no union of countries.
"""

from __future__ import annotations

import csv
import difflib
import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

_EU_LIST = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
EU_MEMBERS = frozenset(re.findall("[A-Z]{2}", _EU_LIST))

_US_AREAS = {
    "us-east": "CT DC DE FL GA IN KY MA MD ME MI NC NH NJ NY OH PA RI SC VA VT WV",
    "us-central": "AL AR IA IL KS LA MN MO MS ND NE OK SD TN TX WI",
    "us-west": "AK AZ CA CO HI ID MT NM NV OR UT WA WY",
}
_STATE_AREA = {state.lower(): area for area, states in _US_AREAS.items() for state in states.split()}
_US_DIRECTIONS = (
    (("northeast", "southeast", "east"), "us-east"),
    (("central", "midwest", "south", "north", "northcentral", "southcentral"), "us-central"),
    (("northwest", "southwest", "west", "mountain"), "us-west"),
)

# Areas that hold others, by the areas or countries in them.
_EUROPE = ("eu-west", "eu-north", "eu-central", "eu-south", "eu-east", "uk", "europe-other")
_ASIA = ("asia-east", "asia-southeast", "asia-south", "india", "central-asia")
_US = ("us", *_US_AREAS)
_WIDER_AREAS = {
    "europe": _EUROPE,
    "asia": _ASIA,
    "asia-pacific": (*_ASIA, "oceania"),
    "north-america": (*_US, "canada", "MX"),
    "south-america": ("AR", "BO", "BR", "CL", "CO", "EC", "GF", "GY", "PE", "PY", "SR", "UY", "VE"),
    "latin-america": ("latin-america",),
    "americas": (*_US, "canada", "latin-america"),
    "middle-east": ("middle-east",),
    "africa": ("africa",),
    "emea": (*_EUROPE, "middle-east", "africa"),
    "oceania": ("oceania",),
    "nordics": ("SE", "FI", "DK", "NO", "IS"),
    "scandinavia": ("SE", "DK", "NO"),
    "dach": ("DE", "AT", "CH"),
    "benelux": ("BE", "NL", "LU"),
    "eea": (*sorted(EU_MEMBERS), "NO", "IS", "LI"),
    "eu": tuple(sorted(EU_MEMBERS)),
    "us": _US,
    "asia-south": ("asia-south", "india"),
}
_OTHER_WORDS = {
    "european-union": "eu", "european-economic-area": "eea", "apac": "asia-pacific", "latam": "latin-america",
    "northern-europe": "nordics", "asia-pac": "asia-pacific", "america": "us", "us-midwest": "us-central",
    "us-south": "us-central", "east-us": "us-east", "west-us": "us-west", "central-us": "us-central",
    "south-east-asia": "asia-southeast", "southeast-asia": "asia-southeast", "east-asia": "asia-east",
    "south-asia": "asia-south", "europe-west": "eu-west", "europe-north": "eu-north", "europe-south": "eu-south",
    "europe-central": "eu-central", "europe-east": "eu-east", "western-europe": "eu-west", "nordic": "nordics",
    "northamerica": "north-america", "southamerica": "south-america", "middleeast": "middle-east",
    "asia-northeast": "asia-east",
    "australasia": "oceania", "scandinavian": "scandinavia", "us-east-coast": "us-east", "us-west-coast": "us-west",
}  # fmt: skip
# Two letters that begin a region code and are a compass or a continent there, not a country.
_NO_COUNTRY = frozenset({"ap", "eu", "sa", "me", "af", "na", "oc", "as", "an", "la", "ne", "us"})
_PROVIDERS = {
    "awsec2": "aws", "awssagemaker": "aws", "azureml": "azure",
    "vertexai": "gcp", "gcpvertex": "gcp", "googlecompute": "gcp",
    "googlevertex": "gcp", "oracleoci": "oracle", "oci": "oracle", "lambdalabs": "lambda", "jarvislabs": "jarvis",
    "massedcompute": "massed", "vastai": "vast", "datacrunch": "verda", "ovh": "ovhcloud", "latitudesh": "latitude",
    "crusoecloud": "crusoe", "ibmwatson": "ibm", "ibmvpc": "ibm", "ibmcloud": "ibm", "primeintellect": "prime",
}  # fmt: skip
_PREFIXED = re.compile(r"^(eu|eur|ap|sea|oc|af|sa|me|na)-([a-z]{2})-\d")
_STATED = re.compile(r"^us-([a-z]{2})-\d")
_LEADING_CODE = re.compile(r"^([a-z]{2})[-_](?:[a-z]{3,}|[a-z]+\d)")


@dataclass(frozen=True, slots=True)
class Place:
    """A region as the provider spells it, its ISO country and the finest area known; None where unknown."""

    region: str
    country: str | None
    area: str | None


@cache
def _countries() -> dict[str, tuple[str, str]]:
    """Country code to (name, area)."""
    return {row["code"]: (row["name"], row["area"]) for row in _rows("countries.csv")}


@cache
def _country_names() -> dict[str, str]:
    """Every spelling of a country, hyphened and plain, to its code."""
    names: dict[str, str] = {}
    for row in _rows("countries.csv"):
        for name in (row["name"], *row["other_names"].split(";")):
            if name:
                names[_word(name)] = row["code"]
    return names


@cache
def _known_regions() -> dict[tuple[str, str], tuple[str, str]]:
    return {(row["provider"], row["region"].lower()): (row["country"], row["area"]) for row in _rows("regions.csv")}


def _rows(name: str) -> list[dict[str, str]]:
    text = files("market").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _word(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.strip().lower())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter)).replace(".", "")
    return re.sub(r"[\s_-]+", "-", plain).strip("-")


@lru_cache(maxsize=65_536)
def locate(provider: str, region: str, country: str | None = None) -> Place:
    """The place a provider means by `region`; its own `country` (code or name) is believed over the code's."""
    home = re.sub(r"[^a-z0-9]", "", provider.lower())
    code = region.strip().lower()[:200]
    found, area = _find(_PROVIDERS.get(home, home), code)
    stated = _country_code(country) if country else None
    if stated and stated != found:
        found, area = stated, None
    if found == "US":
        area = area or _us_area(code) or "us"
    elif found:
        area = _countries()[found][1]
    else:
        word = _OTHER_WORDS.get(_word(code), _word(code))
        area = word if word in areas() else None
    return Place(region, found, area)


def _find(home: str, code: str) -> tuple[str | None, str | None]:
    listed = _known_regions().get((home, code)) or _known_regions().get((home, re.sub(r"-?[a-z]$", "", code)))
    if listed:
        return listed[0], listed[1] or None
    if "," in code:
        return _from_display(code)
    state = _STATED.match(code)
    if state and state[1] in _STATE_AREA:
        return "US", _STATE_AREA[state[1]]
    prefixed = _PREFIXED.match(code)
    if prefixed and prefixed[2].upper() in _countries():
        return prefixed[2].upper(), None
    return _from_words(code)


def _from_display(code: str) -> tuple[str | None, str | None]:
    """`Washington, US`, `, US`, `France, FR, EU`, `Tokyo, JP`: the last part that is a country."""
    parts = [part.strip() for part in code.split(",")]
    for part in reversed(parts):
        found = _country_code(part)
        if found:
            before = "".join(re.findall(r"[a-z]+", parts[0]))
            area = _known_regions().get(("@state", before)) or _known_regions().get(("@", before), ("", ""))
            state = _STATE_AREA.get(parts[-2]) if len(parts) > 1 else None
            return found, (area[1] if area[0] == "US" else state) or None if found == "US" else None
    return _from_words(code.replace(",", " "))


def _from_words(code: str) -> tuple[str | None, str | None]:
    """A country, state or city spelled inside the code; a leading country code; `us-…` with a direction."""
    spoken = re.findall(r"[^\W\d_]+", code)
    runs = [
        ("".join(spoken[i:j]), "-".join(spoken[i:j]))
        for i in range(len(spoken))
        for j in range(i + 1, i + 4)
        if any(len(word) > 1 for word in spoken[i:j])  # letters set apart are no word
    ]
    for joined, hyphened in sorted(runs, key=lambda run: -len(run[0])):
        named = _known_regions().get(("@", joined))
        if named:
            return named[0], named[1] or None
        country = _country_names().get(_word(hyphened))
        if country and len(joined) > 2:
            return country, None
    whole = _country_code(code)
    if whole:
        return whole, None
    if "usa" in spoken or spoken[:1] == ["us"] or spoken[:2] == ["na", "us"]:
        return "US", _us_area(code)
    if spoken and spoken[0] == "uk":
        return "GB", None
    leading = _LEADING_CODE.match(code)
    if leading and leading[1].upper() in _countries() and leading[1] not in _NO_COUNTRY:
        return leading[1].upper(), None
    return None, None


def _us_area(code: str) -> str | None:
    spoken = set(re.findall(r"[a-z]+", code))
    for directions, area in _US_DIRECTIONS:
        if spoken & set(directions):
            return area
    return None


def _country_code(text: str) -> str | None:
    word = _word(text)
    if len(word) == 2:
        code = "GB" if word == "uk" else word.upper()
        return code if code in _countries() else None
    return _country_names().get(word)


@lru_cache(maxsize=4_096)
def _members(term: str) -> frozenset[str]:
    """The countries and areas a word stands for; empty when it is neither."""
    word = _word(term)
    word = _OTHER_WORDS.get(word, word)
    found: set[str] = set(_WIDER_AREAS.get(word, ()))
    if word in areas():
        found.add(word)
    country = _country_code(word)
    if country and word not in _WIDER_AREAS:
        found.add(country)
    return frozenset(found)


def is_area(term: str) -> bool:
    """Whether a word names an area or a country, rather than one provider's region."""
    return bool(_members(term))


def selects(term: str, place: Place) -> bool:
    """Whether a caller's word means this place: its raw region exactly, or an area or country it lies in."""
    if term.strip() and term.strip().lower() == place.region.strip().lower():
        return True
    members = _members(term)
    return place.country in members or place.area in members


@cache
def areas() -> tuple[str, ...]:
    """The areas a place can be in, finest first known: the fixed vocabulary of `Place.area`."""
    return tuple(sorted({area for _, area in _countries().values()} | set(_US)))


@cache
def known_terms() -> list[str]:
    """Every area and country a caller may name, for completion."""
    return sorted({*areas(), *_WIDER_AREAS, *(_word(name) for name, _ in _countries().values())})


def nearest(term: str, limit: int = 3) -> list[str]:
    """The closest areas and countries, for an error message."""
    return difflib.get_close_matches(_word(term[:80]), known_terms(), n=limit, cutoff=0.6)
