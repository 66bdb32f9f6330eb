"""The simulated cloud over real HTTP: its errors, its faults on the wire, its document, its state file, its SSH."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from adapters.sandbox_cloud import REFUSALS, SandboxCloud, Temper
from adapters.sandbox_dial import ENDPOINTS, FAULTS
from adapters.sandbox_http import OPERATOR_ROUTES, ROUTES, SandboxFace
from adapters.sandbox_market import TYPES
from adapters.sandbox_openapi import document
from adapters.sandbox_state import StateFile
from adapters.transport import ProviderClient
from market.errors import OrderRefused, ProviderFailed, ReplyLost, StorageFailed
from market.instances import Launch, Order
from tests.conftest import ManualClock
from tests.house import ROOT
from tests.sandbox import SandboxWorld, at, served

ME = {"Authorization": "Bearer me"}
H100 = {"label": "job-0", "type": "h100-1", "region": "eu-frankfurt"}


@pytest.fixture
def cloud(clock: ManualClock) -> SandboxCloud:
    """A calm cloud."""
    return SandboxCloud(clock.now, temper=Temper.calm())


@pytest.fixture
def web(cloud: SandboxCloud) -> Iterator[httpx.Client]:
    """A plain client of the served cloud."""
    with served(cloud) as address, httpx.Client(base_url=address, trust_env=False, timeout=20.0) as client:
        yield client


def code(answer: httpx.Response) -> str:
    """The code of an error, which has the one shape."""
    error = answer.json()["error"]
    assert set(error) == {"code", "message"}
    assert error["message"]
    return str(error["code"])


def test_a_stranger_may_look_at_prices_and_do_nothing_else(web: httpx.Client) -> None:
    assert web.get("/v1/types").status_code == 200
    assert web.get("/v1/price", params=H100).status_code == 200
    for method, path, endpoint, _ in ROUTES:
        if endpoint in ("types", "price"):
            continue
        for headers in ({}, {"Authorization": "Bearer"}, {"Authorization": "Basic bWU6bWU="}):
            answer = web.request(method, path.replace("{id}", "sb-000001"), headers=headers)
            assert (answer.status_code, code(answer)) == (401, "unauthorized"), path


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        json.dumps({**H100, "colour": "red"}).encode(),
        json.dumps({**H100, "disk_gb": "much"}).encode(),
        json.dumps({**H100, "disk_gb": True}).encode(),
        json.dumps({**H100, "ports": [1.5]}).encode(),
        json.dumps({**H100, "ends_at": "2026-01-31"}).encode(),
        json.dumps({**H100, "ends_at": "0001-01-01T00:00:00+23:59"}).encode(),
        json.dumps({**H100, "environment": {"A": 1}}).encode(),
        json.dumps({**H100, "label": 7}).encode(),
        json.dumps({"label": "job-0"}).encode(),
        json.dumps({**H100, "start_script": "x" * 300_000}).encode(),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(web: httpx.Client, cloud: SandboxCloud, body: bytes) -> None:
    answer = web.post("/v1/instances", content=body, headers=ME)
    assert (answer.status_code, code(answer)) == (400, "bad_request")
    assert cloud.machines == {}


def test_every_refusal_has_its_status(web: httpx.Client, cloud: SandboxCloud) -> None:
    for name, status in REFUSALS.items():
        fault = {"fault": "refusal", "value": name, "endpoint": "launch", "times": 1}
        assert web.post("/_dial", json={"faults": [fault]}).status_code == 200
        answer = web.post("/v1/instances", json=H100, headers=ME)
        assert (answer.status_code, code(answer)) == (status, name)
    assert code(web.get("/v1/nothing")) == code(web.put("/v1/instances")) == "no_such_route"


def test_a_page_of_another_site_cannot_speak_to_it(web: httpx.Client) -> None:
    assert web.get("/_state", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("fault", ["reset", "lost_reply"])
def test_a_reset_is_a_reset_on_the_wire(web: httpx.Client, cloud: SandboxCloud, fault: Any) -> None:
    cloud.dial.set(fault, endpoint="launch", times=1)
    with pytest.raises(httpx.ReadError):
        web.post("/v1/instances", json=H100, headers=ME)
    assert len(cloud.machines) == (0 if fault == "reset" else 1)
    assert web.get("/v1/instances", headers=ME).status_code == 200


def test_a_truncated_answer_ends_in_the_middle_on_the_wire(web: httpx.Client, cloud: SandboxCloud) -> None:
    cloud.dial.script("launch", ["truncated"])
    with pytest.raises(httpx.RemoteProtocolError):
        web.post("/v1/instances", json=H100, headers=ME)
    assert len(cloud.machines) == 1


def test_latency_keeps_the_caller_waiting_after_the_work_is_done(web: httpx.Client, cloud: SandboxCloud) -> None:
    cloud.dial.set("latency", 30, endpoint="launch", times=1)
    with pytest.raises(httpx.ReadTimeout):
        web.post("/v1/instances", json=H100, headers=ME, timeout=0.5)
    assert len(cloud.machines) == 1


@pytest.mark.parametrize("value", [None, 12])
def test_slow_down_comes_with_and_without_a_time(web: httpx.Client, cloud: SandboxCloud, value: int | None) -> None:
    cloud.dial.set("slow_down", value, endpoint="list")
    answer = web.get("/v1/instances", headers=ME)
    assert (answer.status_code, code(answer)) == (429, "slow_down")
    assert answer.headers.get("retry-after") == (None if value is None else "12")


async def test_the_adapter_books_over_a_real_connection(cloud: SandboxCloud, clock: ManualClock) -> None:
    wanted = Order(
        label="gpubroker-abc-0",
        external_id="h100-1",
        region="eu-frankfurt",
        pricing="on_demand",
        price_per_hour=Decimal("2.89"),
        currency="USD",
        ends_at=clock.now() + timedelta(hours=1),
        launch=Launch(image="ubuntu"),
    )
    with served(cloud) as address:
        client = ProviderClient(at(address))
        sandbox = at(address)(client, clock.now())
        made = await sandbox.launch(wanted)
        assert await sandbox.find_by_label("gpubroker-abc-0") == [made]
        cloud.dial.script("launch", ["lost_reply", "truncated", "reset", "server_error"])
        for _ in range(4):
            with pytest.raises(ReplyLost):
                await sandbox.launch(wanted)
        assert len(await sandbox.find_by_label("gpubroker-abc-0")) == 3
        await sandbox.terminate(made.id)
        with pytest.raises(OrderRefused):
            await sandbox.stop(made.id)
        await client.aclose()


async def test_only_its_own_port_of_this_machine_is_reached(cloud: SandboxCloud, clock: ManualClock) -> None:
    with served(cloud) as address, served(SandboxCloud(clock.now)) as other:
        client = ProviderClient(at(address))
        with pytest.raises(ProviderFailed) as caught:
            await client.get_json(f"{other}/v1/types")
        assert caught.value.details["reason"] == "egress"
        await client.aclose()


def test_ssh_greets_while_a_machine_runs_and_only_then(cloud: SandboxCloud, clock: ManualClock) -> None:
    with served(cloud):
        assert _greeting(cloud) == b""
        machine = cloud.launch("me", _order())
        clock.advance(machine.ready_at - clock.now())
        assert re.fullmatch(rb"SSH-2\.0-\S+\r\n", _greeting(cloud))
        cloud.terminate("me", machine.id)
        assert _greeting(cloud) == b""


def _order() -> Any:
    from adapters.sandbox_cloud import LaunchOrder

    return LaunchOrder(label="job-0", type="h100-1", region="eu-frankfurt", pricing="on_demand")


def _greeting(cloud: SandboxCloud) -> bytes:
    with socket.create_connection((cloud.ssh_host, cloud.ssh_port), timeout=20) as connection:
        return b"".join(iter(lambda: connection.recv(4_096), b""))


def test_the_operator_sets_faults_stock_and_time(web: httpx.Client, cloud: SandboxCloud) -> None:
    rule = {"fault": "latency", "value": 2, "endpoint": "list", "probability": 0.5, "times": 3}
    shown = web.post("/_dial", json={"faults": [rule], "script": {"launch": ["reset", None]}}).json()
    assert shown["rules"] == [rule]
    assert set(shown["faults"]) == set(FAULTS)
    with pytest.raises(httpx.ReadError):
        web.post("/v1/instances", json=H100, headers=ME)
    made = web.post("/v1/instances", json=H100, headers=ME).json()
    assert web.post("/_dial", json={"clear": True}).json()["rules"] == []
    assert web.post("/_stock", json={"type": "h100-1", "region": "eu-frankfurt", "free": 3}).json()["free"] == 2
    assert web.post("/_clock", json={"advance_seconds": 7_200}).json()["now"] == "2026-01-15T14:00:00+00:00"
    state = web.post("/_interrupt", json={"id": made["id"]}).json()
    assert [(one["state"], one["end_reason"]) for one in state["machines"]] == [("ended", "interrupted")]
    assert Decimal(state["machines"][0]["amount"]) > 5
    web.post("/_vanish", json={"id": made["id"]})
    assert code(web.get(f"/v1/instances/{made['id']}", headers=ME)) == "not_found"
    assert web.get("/_state").json()["machines"][0]["end_reason"] == "vanished"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/_dial", {"faults": [{"fault": "flood"}]}),
        ("/_dial", {"faults": [{"fault": "reset", "endpoint": "moon"}]}),
        ("/_dial", {"faults": [{"fault": "reset", "probability": 2}]}),
        ("/_dial", {"faults": [{"fault": "reset", "times": 0}]}),
        ("/_dial", {"faults": [{"fault": "latency", "value": []}]}),
        ("/_dial", {"faults": "reset"}),
        ("/_dial", {"clear": True, "script": {"moon": []}}),
        ("/_dial", {"script": ["reset"]}),
        ("/_stock", {"type": "h100-1", "region": "eu-frankfurt", "free": -1}),
        ("/_clock", {"advance_seconds": -1}),
        ("/_clock", {"advance_seconds": 1e300}),
    ],
)
def test_a_dial_that_makes_no_sense_changes_nothing(
    web: httpx.Client, cloud: SandboxCloud, path: str, body: Any
) -> None:
    cloud.dial.set("latency", 0, endpoint="bill")
    answer = web.post(path, json=body)
    assert (answer.status_code, code(answer)) == (400, "bad_request")
    assert len(cloud.dial.rules) == 1
    assert cloud.pinned_stock == {}


def test_its_document_holds_every_route_and_no_other() -> None:
    told = {(method.upper(), path) for path, methods in document()["paths"].items() for method in methods}
    assert told == {(method, path) for method, path, *_ in (*ROUTES, *OPERATOR_ROUTES)}


def test_its_answers_are_as_its_document_says(web: httpx.Client, clock: ManualClock) -> None:
    told = web.get("/openapi.json").json()
    assert told == document()
    made = web.post("/v1/instances", json={**H100, "ports": [80], "ends_at": "2026-01-15T20:00:00Z"}, headers=ME)
    clock.advance(timedelta(hours=1))
    machine = f"/v1/instances/{made.json()['id']}"
    answers = {
        "Types": web.get("/v1/types"),
        "Price": web.get("/v1/price", params=H100),
        "Account": web.get("/v1/account", headers=ME),
        "Instance": web.get(machine, headers=ME),
        "Instances": web.get("/v1/instances", headers=ME),
        "Bill": web.get(f"{machine}/bill", headers=ME),
        "Error": web.get("/v1/instances/none", headers=ME),
    }
    for name, answer in answers.items():
        schema = {**told["components"]["schemas"][name], "components": told["components"]}
        assert set(answer.json()) == set(schema["properties"]), name
        Draft202012Validator(schema).validate(answer.json())


async def test_a_cloud_goes_on_from_its_file(clock: ManualClock, tmp_path: Path) -> None:
    world = SandboxWorld(clock, seed=3)
    file = StateFile(tmp_path / "cloud.json", world.cloud)
    assert not file.load()
    world.face = SandboxFace(world.cloud, wire_of=lambda scope: scope["wire"], changed=file.save)
    client = world.connect(at("http://127.0.0.1:10356"))
    made = await client.order("POST", "http://127.0.0.1:10356/v1/instances", json=H100, headers=ME)
    clock.advance(timedelta(hours=1))
    again = SandboxCloud(clock.now, temper=Temper.calm())
    assert StateFile(tmp_path / "cloud.json", again).load()
    assert (again.seed, again.now()) == (3, world.cloud.now())
    assert again.machines[made["id"]] == world.cloud.machines[made["id"]]
    assert again.machines[made["id"]].state == "running"


def test_a_file_of_no_use_is_refused_and_left(clock: ManualClock, tmp_path: Path) -> None:
    file = tmp_path / "cloud.json"
    file.write_text('{"half": ', encoding="utf-8")
    with pytest.raises(StorageFailed, match=r"cannot go on from `cloud\.json`"):
        StateFile(file, SandboxCloud(clock.now)).load()
    with pytest.raises(StorageFailed, match=r"cannot write `cloud\.json`"):
        StateFile(tmp_path / "nowhere" / "cloud.json", SandboxCloud(clock.now)).save()
    assert file.read_text(encoding="utf-8") == '{"half": '


def test_the_page_about_it_names_every_fault_and_endpoint_as_they_are() -> None:
    page = (ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE))
    assert rows == FAULTS
    assert re.findall(r"`(\w+)`", page.partition("\nEndpoints: ")[2].partition("\n")[0]) == list(ENDPOINTS[1:])
    assert len(TYPES) == 12
