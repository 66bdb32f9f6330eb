"""Seals and encryption with a key of our own: `seal.key` in the data folder, or `GPUBROKER_SEAL_KEY`.

A seal shows that a row is the one we wrote (a quote, an approval); encryption keeps what must be read again (what to
launch, the secret of a webhook) from whoever reads only the database. Both keys are derived from the one in the file.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from market.canonical import canonical
from market.errors import StorageFailed, ValidationFailed

if TYPE_CHECKING:
    from market.settings import Settings

KEY_FILE = "seal.key"
KEY_BYTES = 32
_NONCE_BYTES = 12
_FORM = "v1."


class Sealer:
    """Seals facts and encrypts text with one secret."""

    def __init__(self, secret: bytes) -> None:
        self._sealing = hmac.digest(secret, b"gpubroker seal", hashlib.sha256)
        self._hiding = hmac.digest(secret, b"gpubroker encrypt", hashlib.sha256)

    @classmethod
    def of(cls, settings: Settings) -> Sealer:
        """The sealer of this installation; its key file is made on first use.

        Raises StorageFailed when the file cannot be made or read, ValidationFailed when the setting is too short.
        """
        if settings.seal_key:
            if len(settings.seal_key) < KEY_BYTES:
                raise ValidationFailed(
                    f"`GPUBROKER_SEAL_KEY` has fewer than {KEY_BYTES} characters.",
                    next_step="Use a long random secret, the same for every process of this installation.",
                )
            return cls(settings.seal_key.encode())
        return cls(key_in(settings.data_dir, KEY_FILE))

    def seal(self, kind: str, facts: object) -> str:
        """HMAC-SHA256 over the kind and the canonical facts, 64 hexadecimal digits."""
        return hmac.new(self._sealing, canonical([kind, facts]).encode(), hashlib.sha256).hexdigest()

    def holds(self, kind: str, facts: object, seal: str) -> bool:
        """Whether the seal is ours and the facts are unchanged; takes as long for a wrong one as for the right one."""
        return hmac.compare_digest(self.seal(kind, facts).encode(), seal.encode("utf-8", "replace"))

    def encrypt(self, text: str) -> str:
        """AES-256-GCM under a fresh nonce, as text."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(_NONCE_BYTES)
        hidden = AESGCM(self._hiding).encrypt(nonce, text.encode(), _FORM.encode())
        return _FORM + base64.urlsafe_b64encode(nonce + hidden).decode()

    def decrypt(self, sealed: str) -> str:
        """The text that was encrypted. Raises ValueError when it was changed or another key encrypted it."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            if not sealed.startswith(_FORM):
                raise ValueError("unknown form")
            raw = base64.b64decode(sealed[len(_FORM) :].encode(), altchars=b"-_", validate=True)
            return AESGCM(self._hiding).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _FORM.encode()).decode()
        except (InvalidTag, ValueError):
            raise ValueError("the sealed text was changed, or sealed with another key") from None


def key_in(folder: Path, name: str) -> bytes:
    """The 32 bytes of a key file, made for the owner alone on first use; of several processes one makes it.

    Raises StorageFailed when it cannot be made or read, or is no key.
    """
    path = folder / name
    try:
        if not path.exists():
            _make(path)
        held = path.read_bytes()
    except OSError as problem:
        raise StorageFailed(
            f"The key file `{path}` cannot be made or read ({problem.strerror}).",
            next_step="Make the folder writable, or choose another with `GPUBROKER_DATA_DIR`.",
        ) from None
    if len(held) != KEY_BYTES:
        raise StorageFailed(
            f"The key file `{path}` is damaged: it has {len(held)} bytes instead of {KEY_BYTES}.",
            next_step="Put it back from a backup. Without it, what was sealed with it can no longer be used.",
        )
    return held


def _make(path: Path) -> None:
    """Written whole under another name first, then linked: nobody ever reads half a key, and the first one stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
