"""The HTTP door to a caller's own things: what is not there is not found, and one key makes one of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from market.settings import Settings
from server.rest import PREFIX
from tests.server.facade import error, opened_app
from tests.server.missing_things import OF_SOMETHING
from tools.capability import capabilities


@pytest.fixture(scope="module")
def http(filled_folder: Any) -> Iterator[TestClient]:
    """The application over the published prices."""
    with opened_app(Settings(data_dir=filled_folder, sync="off")) as client:
        yield client


@pytest.mark.parametrize("name", sorted(OF_SOMETHING))
def test_a_thing_that_is_not_there_is_not_found_whatever_is_asked_of_it(http: TestClient, name: str) -> None:
    for route in capabilities()[name].routes:
        method, path = route.split(" ", 1)
        given = OF_SOMETHING[name]
        body = {field: value for field, value in given.items() if f"{{{field}}}" not in path}
        sent: dict[str, Any] = {"json": body} if method in ("POST", "PUT") else {"params": body}
        answer = http.request(method, PREFIX + path.format(**given), **sent)
        assert answer.status_code == 404, (route, answer.text)
        assert error(answer)["code"] == "NOT_FOUND"


def test_the_same_idempotency_key_answers_the_same_and_another_body_is_a_conflict(http: TestClient) -> None:
    def sent(name: str) -> Any:
        return http.post(PREFIX + "/keys", json={"name": name}, headers={"Idempotency-Key": "once"})

    first, again, other = sent("buyer"), sent("buyer"), sent("seller")
    assert first.json() == again.json()
    assert other.status_code == 422
    assert error(other)["code"] == "IDEMPOTENCY_CONFLICT"
