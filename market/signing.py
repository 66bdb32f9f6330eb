"""The owner's signature under a mandate: an Ed25519 JWS, made and accepted with one key of our own.

The key is `owner.key` in the data folder (32 bytes, for the owner alone) or the file `GPUBROKER_OWNER_KEY` names; it
is made when the first mandate is signed. Nothing in a token decides how it is verified: its header must be exactly
the one we write.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from market.errors import MandateRefused
from market.sealing import key_in

if TYPE_CHECKING:
    from joserfc.jwk import OKPKey

    from market.settings import Settings

KEY_FILE = "owner.key"
ALGORITHM = "Ed25519"
MANDATE_TYPE = "gpubroker-mandate+jws"
SIGN_ANEW = "The owner signs a new one with `gpubroker mandate create`."


class OwnerKey:
    """The key a principal signs mandates with."""

    def __init__(self, seed: bytes) -> None:
        self._key = ed25519(seed)

    @classmethod
    def of(cls, settings: Settings, *, make: bool = False) -> OwnerKey:
        """The owner's key of this installation; made when it is wanted for signing and there is none.

        Raises MandateRefused when there is none, StorageFailed when the file cannot be made or read.
        """
        path = Path(settings.owner_key) if settings.owner_key else settings.data_dir / KEY_FILE
        if not make and not path.exists():
            raise _refused("foreign", "No mandate was ever signed here: there is no owner's key.")
        return cls(key_in(path.parent, path.name))

    @property
    def thumbprint(self) -> str:
        """RFC 7638, SHA-256, base64url."""
        return self._key.thumbprint()

    def sign(self, payload: str) -> str:
        """A compact JWS over this text."""
        from joserfc import jws

        header = {"alg": ALGORITHM, "kid": self.thumbprint, "typ": MANDATE_TYPE}
        return jws.serialize_compact(header, payload.encode(), self._key, algorithms=[ALGORITHM])

    def opened(self, token: str) -> str:
        """The text under the signature. Raises MandateRefused for anything this key has not signed as a mandate."""
        from joserfc import jws
        from joserfc.errors import JoseError

        try:
            found = jws.extract_compact(token.encode())
        except (JoseError, ValueError):
            raise _refused("signature", "The mandate is no signed token: it was changed.") from None
        header = found.headers()
        if header.get("alg") != ALGORITHM:
            raise _refused("algorithm", f"The mandate is not signed with {ALGORITHM}.")
        if header.get("typ") != MANDATE_TYPE:
            raise _refused("type", f"The token is no mandate: its type is not `{MANDATE_TYPE}`.")
        if header.get("kid") != self.thumbprint:
            raise _refused("foreign", "The mandate is signed with the key of another owner.")
        if header.keys() != {"alg", "kid", "typ"}:
            raise _refused("header", "The mandate's header holds what we do not write.")
        try:
            return jws.deserialize_compact(token, self._key, algorithms=[ALGORITHM]).payload.decode()
        except (JoseError, ValueError):
            raise _refused("signature", "The mandate's signature does not fit: it was changed.") from None


@lru_cache(maxsize=64)
def ed25519(seed: bytes) -> OKPKey:
    """The key pair of a 32-byte seed; remembered, for deriving it takes longer than a signature."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from joserfc.jwk import OKPKey

    return OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(seed))


def _refused(reason: str, message: str) -> MandateRefused:
    return MandateRefused(message, next_step=SIGN_ANEW, details={"reason": reason})
