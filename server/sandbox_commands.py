"""`gpubroker sandbox`: the simulated cloud on a port of this machine, for trying things out at no cost."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from market.settings import Settings

HOST, PORT = "127.0.0.1", 10356
_FAULT = '{"faults": [{"fault": "lost_reply", "endpoint": "launch", "times": 1}]}'


def add_options(command: argparse.ArgumentParser) -> None:
    """How it is written."""
    command.add_argument("--port", type=int, default=PORT, help=f"port to listen on ({PORT}; 0 takes a free one)")
    command.add_argument("--seed", type=int, help="which story it tells (0, or that of the state file)")
    command.add_argument("--no-enforced-end", action="store_true", help="never end a machine by itself")
    command.add_argument("--calm", action="store_true", help="no failed boots, no interruptions, always in stock")
    command.add_argument("--state", type=Path, metavar="FILE", help="keep its machines in this file")


async def sandbox(arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve until told to stop. Raises Unavailable for a taken port, StorageFailed for a state file of no use."""
    from server.app import practice_cloud
    from server.listen import signals_only_end
    from server.sandbox_listen import Doors, run, server

    doors = Doors()
    cloud, face = practice_cloud(
        seed=arguments.seed,
        enforce_end=not arguments.no_enforced_end,
        calm=arguments.calm,
        state=arguments.state,
        wire_of=doors.wire_of,
    )
    with _listening(arguments.port) as web, _listening(0) as ssh, signals_only_end():
        cloud.ssh_host, cloud.ssh_port = ssh.getsockname()[:2]
        address = f"http://{HOST}:{web.getsockname()[1]}"
        facts = {
            "address": address,
            "ssh": f"{cloud.ssh_host}:{cloud.ssh_port}",
            "seed": cloud.seed,
            "enforces_end": cloud.enforce_end,
            "machines": sum(not machine.is_gone for machine in cloud.machines.values()),
        }
        said = json.dumps(facts) if arguments.json else _instructions(facts, settings)
        print(said, flush=True)
        await run(server(face, doors), web, ssh, cloud.is_awake)
    return 0


def _instructions(facts: dict[str, object], settings: Settings) -> str:
    """Where it listens and what to type next."""
    address = str(facts["address"])
    moved = settings.sandbox_url.rstrip("/") != address
    return "\n".join(
        [
            f"The sandbox cloud listens on {address}  (API at /v1, /openapi.json)",
            f"  seed {facts['seed']}, machines kept: {facts['machines']}, "
            f"ends {'are enforced' if facts['enforces_end'] else 'are NOT enforced'}",
            "  Nothing here is real and nothing costs money.",
            f"  SSH is a stand-in: {facts['ssh']} greets while a machine runs, and hangs up.",
            "",
            "In another terminal:",
            *([f"  export GPUBROKER_SANDBOX_URL={address}"] if moved else []),
            "  gpubroker sync sandbox",
            "  gpubroker search provider=sandbox gpu=H100",
            "  gpubroker call quote_offer offer_id=sandbox:h100-1:eu-frankfurt duration_hours=2",
            "Make something go wrong (GET the same address for all faults):",
            f"  curl {address}/_dial -d '{_FAULT}'",
        ]
    )


def _listening(port: int) -> socket.socket:
    from market.errors import Unavailable
    from server.sandbox_listen import bound

    try:
        return bound(HOST, port)
    except (OSError, OverflowError) as problem:
        raise Unavailable(
            f"Cannot listen on {HOST}:{port} ({getattr(problem, 'strerror', None) or 'no such port'}).",
            next_step="Choose another port with `--port`, or `--port 0` for a free one.",
        ) from None
