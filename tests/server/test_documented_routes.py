"""The routes of the requirement documents, asked over HTTP as the documents write them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from market import catalogue
from market.context import Market, opened
from market.settings import Settings
from market.store import Store
from server import rest
from tests.market.offer_samples import made

OFFERS = [
    made("aws:h100:us-east-1", "4", availability="available", tags=("hipaa",)),
    made("aws:h100:eu-west-1", "5", region="eu-west-1", country="IE", area="eu-west", tags=("gdpr",)),
    made("runpod:h100:eu-ro-1", "3", provider="runpod", region="EU-RO-1", availability="limited", tags=("gdpr",)),
    made("runpod:4090:eu-ro-1", "0.4", provider="runpod", gpu="RTX-4090", gpu_raw="RTX 4090", memory_gb=24.0),
    made("vast:a10:global", "0.2", provider="vast", gpu="A10", gpu_raw="NVIDIA A10", memory_gb=24.0, region="global"),
]


async def _fill(store: Store, now: datetime) -> None:
    for provider in sorted({offer.provider for offer in OFFERS}):
        found = [offer for offer in OFFERS if offer.provider == provider]
        await catalogue.record(store, provider, found, seen_at=now, complete=True)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the HTTP routes over five offers."""
    async with opened(Market(Settings(data_dir=tmp_path, sync="off"), seed=_fill)) as market:
        transport = httpx.ASGITransport(Starlette(routes=[*rest.routes(market)]))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost/api/v2") as opened_client:
            yield opened_client


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


@pytest.mark.requirement("FR-PROV-004")
@pytest.mark.requirement("FR-7.4")
@pytest.mark.requirement("FR-MKT-1")
@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, [4, 3, 2, 0, 1]),
        ({"gpu": "h100"}, [2, 0, 1]),
        ({"gpu_type": "4090"}, [3]),
        ({"region": "eu-west-1"}, [1]),
        ({"provider": "runpod"}, [3, 2]),
        ({"availability": "limited"}, [2]),
        ({"compliance_tag": "gdpr"}, [2, 1]),
        ({"gpu_memory_min": 25}, [2, 0, 1]),
        ({"gpu_memory_max": 25}, [4, 3]),
        ({"price_min": 3.5, "max_price": 4.5}, [0]),
        ({"gpu": "h100", "tags": "gdpr", "sort": "price_desc"}, [1, 2]),
    ],
    ids=str,
)
async def test_the_marketplace_query_takes_the_parameters_of_the_documents(
    client: httpx.AsyncClient, asked: dict[str, Any], found: list[int]
) -> None:
    answer = await client.get("/providers", params=asked)
    assert ids(answer) == [OFFERS[at].id for at in found]
    assert answer.json()["total"] == len(found)
    item = answer.json()["items"][0]
    assert {"provider", "name", "gpu", "memory_gb", "price_per_hour", "currency", "availability", "region", "tags"} <= (
        item.keys()
    )
    assert "last_updated" in item


@pytest.mark.requirement("FR-PROV-004")
async def test_pages_are_numbered_from_one(client: httpx.AsyncClient) -> None:
    pages = [await client.get("/providers", params={"page": page, "per_page": 2}) for page in (1, 2, 3, 4)]
    assert [len(ids(page)) for page in pages] == [2, 2, 1, 0]
    assert {page.json()["total"] for page in pages} == {5}
    assert len({offer_id for page in pages for offer_id in ids(page)}) == 5


@pytest.mark.requirement("FR-7.5")
@pytest.mark.parametrize(("weights", "first"), [({"price": 1}, 4), ({"memory": 1, "price": 0.2}, 2)], ids=str)
async def test_offers_are_sorted_by_topsis_over_the_weights_given(
    client: httpx.AsyncClient, weights: dict[str, float], first: int
) -> None:
    answer = await client.post("/providers/rank", json={"weights": weights})
    assert answer.json()["method"] == "TOPSIS"
    assert ids(answer)[0] == OFFERS[first].id
    scores = [item["score"] for item in answer.json()["items"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


@pytest.mark.requirement("NFR-MAINT-004")
def test_every_route_is_under_the_version_of_the_api(tmp_path: Path) -> None:
    paths = [route.path for route in rest.routes(Market(Settings(data_dir=tmp_path)))]
    assert paths
    assert [path for path in paths if not path.startswith("/api/v2/")] == []
