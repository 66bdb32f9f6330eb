"""Keeping credentials out of everything that is written down: messages, logs, shown addresses."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlencode, urlsplit, urlunsplit

HIDDEN = "***"
_SHORTEST_SECRET = 4
_SENSITIVE = re.compile(r"key|token|secret|sig|passw|auth|credential|session", re.IGNORECASE)

# Both libraries write whole addresses, query and all, below WARNING; a key in a query would be in every log.
for _library in ("httpx", "httpcore"):
    logging.getLogger(_library).setLevel(logging.WARNING)


class Redactor:
    """Replaces known secrets, in plain and in URL-encoded spelling, by `***`."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings = {
            spelling
            for secret in secrets
            if len(secret) >= _SHORTEST_SECRET
            for spelling in (secret, quote(secret, safe="", errors="replace"), quote_plus(secret, errors="replace"))
        }
        longest_first = sorted(spellings, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __repr__(self) -> str:
        return "Redactor(***)"

    def clean(self, text: str) -> str:
        """The text without the secrets."""
        return self._pattern.sub(HIDDEN, text) if self._pattern else text

    def shown_url(self, url: str) -> str:
        """An address fit for a log: no user, no fragment, and nothing in its query that looks like a credential."""
        parts = urlsplit(url)
        query = urlencode(
            [
                (self.clean(name), HIDDEN if _SENSITIVE.search(name) else self.clean(value))
                for name, value in parse_qsl(parts.query, keep_blank_values=True)
            ],
            safe="*/:,",
        )
        path = quote(self.clean(unquote(parts.path)), safe="/*:,@")
        return self.clean(urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, query, "")))
