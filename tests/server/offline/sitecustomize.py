"""Read by Python at its start when this folder is on its path: only this machine can be looked up."""

from __future__ import annotations

import socket
from typing import Any

_LOCAL = {None, "", "localhost", "127.0.0.1", "::1"}
_lookup = socket.getaddrinfo


def _looked_up(host: Any, *arguments: Any, **options: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else host
    if name not in _LOCAL:
        raise socket.gaierror(socket.EAI_NONAME, "there is no network in a test")
    return _lookup(host, *arguments, **options)


socket.getaddrinfo = _looked_up
