"""Offers, GPUs and providers as resources, in both eras."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import INVALID_PARAMS

from market import gpus
from market.context import Market
from server.mcp_door import MarketDoor


async def body(client: Client, uri: str) -> dict[str, Any]:
    """A resource read and parsed."""
    result = await client.read_resource(uri)
    (content,) = result.contents
    assert content.uri == uri
    assert content.mime_type == "application/json"
    parsed: dict[str, Any] = json.loads(getattr(content, "text", ""))
    return parsed


async def test_templates_and_lists_are_offered_with_words_and_icons(door: MarketDoor, era: str) -> None:
    async with Client(door, mode=era) as client:
        templates = (await client.list_resource_templates()).resource_templates
        resources = (await client.list_resources()).resources
    assert {template.uri_template for template in templates} == {
        "offer://{id}",
        "gpu://{name}",
        "provider://{name}",
        "booking://{id}",
        "alert://{id}",
    }
    assert {resource.uri for resource in resources} == {"gpubroker://gpus", "gpubroker://providers"}
    assert all(template.title and template.description and template.icons for template in templates)
    assert all(resource.title and resource.description and resource.icons for resource in resources)


async def test_an_offer_is_read_by_its_plain_or_its_encoded_id(door: MarketDoor, market: Market, era: str) -> None:
    offer_id = next(id for id in _ids(await market.snapshot()) if id.count(":") == 3)
    async with Client(door, mode=era) as client:
        plain = await body(client, f"offer://{offer_id}")
        encoded = await body(client, f"offer://{offer_id.replace(':', '%3A')}")
    assert plain == encoded
    assert plain["id"] == offer_id
    assert plain["source_url"].startswith("http")


def _ids(snapshot: Any) -> list[str]:
    return [raw.decode() for raw in snapshot.frame.ids.tolist()]


async def test_a_gpu_shows_its_figures_and_cheapest_offers(door: MarketDoor, era: str) -> None:
    async with Client(door, mode=era) as client:
        sheet = await body(client, "gpu://h100-sxm")
        names = {card["name"]: card for card in (await body(client, "gpubroker://gpus"))["gpus"]}
    assert sheet["name"] == "H100-SXM"
    assert sheet["memory_gb"] == 80
    assert sheet["bf16_tflops"] > 500
    assert 1 <= len(sheet["cheapest"]) <= 5
    assert {offer["gpu"] for offer in sheet["cheapest"]} == {"H100-SXM"}
    assert names["H100-SXM"]["cheapest_per_gpu_hour"] > 0


async def test_a_provider_shows_health_freshness_and_offers(door: MarketDoor, era: str) -> None:
    async with Client(door, mode=era) as client:
        listed = (await body(client, "gpubroker://providers"))["providers"]
        name = max(listed, key=lambda one: one["offers"])["provider"]
        sheet = await body(client, f"provider://{name}")
    assert sheet["provider"] == name
    assert sheet["state"]
    assert sheet["offers"] > 0
    assert {offer["provider"] for offer in sheet["cheapest"]} == {name}


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("gpu://H1O0", "Nearest: `H100`"),
        ("provider://runpood", "Nearest: `runpod`"),
        ("offer://nobody:nothing:nowhere", "no offer `nobody:nothing:nowhere`"),
        ("offer://" + "x" * 2_000, "at most 300 characters"),
        ("gpu://", "`name`"),
        ("weather://today", "Unknown resource"),
        ("offer://..%2F..%2Fetc%2Fpasswd", "no offer"),
    ],
)
async def test_what_is_not_there_is_an_invalid_parameter_that_names_the_nearest(
    door: MarketDoor, era: str, uri: str, words: str
) -> None:
    async with Client(door, mode=era) as client:
        with pytest.raises(MCPError) as refused:
            await client.read_resource(uri)
    assert refused.value.code == INVALID_PARAMS
    assert words in refused.value.message
    assert refused.value.data["uri"] == uri[:2_000]


async def test_a_near_miss_of_an_offer_id_names_its_neighbours(door: MarketDoor, market: Market) -> None:
    offer_id = _ids(await market.snapshot())[100]
    async with Client(door) as client:
        with pytest.raises(MCPError) as refused:
            await client.read_resource(f"offer://{offer_id}x")
    assert offer_id in refused.value.data["nearest"]


async def test_a_gpu_nobody_offers_still_shows_its_figures(door: MarketDoor, market: Market) -> None:
    offered = set((await market.snapshot()).gpus)
    name = next(card for card in gpus.catalogue() if not gpus.matching(card) & offered)
    async with Client(door) as client:
        sheet = await body(client, f"gpu://{name}")
    assert sheet["name"] == name
    assert (sheet["offers"], sheet["cheapest"]) == (0, [])
