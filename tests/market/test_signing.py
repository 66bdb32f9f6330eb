"""Only what this owner signed as a mandate is one: another key, algorithm, type or a changed byte is refused."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import OctKey, OKPKey

from market.errors import MandateRefused, StorageFailed
from market.settings import Settings
from market.signing import KEY_FILE, MANDATE_TYPE, OwnerKey

TEXT = '{"budget":"100"}'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation that has signed nothing yet."""
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def owner(settings: Settings) -> OwnerKey:
    """The owner's key."""
    return OwnerKey.of(settings, make=True)


def test_what_was_signed_is_opened(settings: Settings, owner: OwnerKey) -> None:
    assert OwnerKey.of(settings).opened(owner.sign(TEXT)) == TEXT


def test_the_key_is_made_once_for_the_owner_alone(settings: Settings, owner: OwnerKey) -> None:
    path = settings.data_dir / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert OwnerKey.of(settings, make=True).thumbprint == owner.thumbprint


def test_reading_a_mandate_makes_no_key(settings: Settings) -> None:
    with pytest.raises(MandateRefused, match="no owner's key"):
        OwnerKey.of(settings)
    assert not settings.data_dir.exists()


def test_the_key_may_lie_elsewhere(tmp_path: Path, settings: Settings) -> None:
    elsewhere = tmp_path / "keys" / "mine.key"
    moved = settings.model_copy(update={"owner_key": str(elsewhere)})
    assert OwnerKey.of(moved, make=True).thumbprint == OwnerKey.of(moved).thumbprint
    assert elsewhere.exists()
    assert not settings.data_dir.exists()


def test_a_damaged_key_is_no_key(settings: Settings, owner: OwnerKey) -> None:
    (settings.data_dir / KEY_FILE).write_bytes(b"short")
    with pytest.raises(StorageFailed, match="damaged"):
        OwnerKey.of(settings)
    assert owner.thumbprint


def parts(token: str) -> tuple[dict[str, Any], str, str]:
    """Header, payload and signature of a compact JWS."""
    header, payload, signature = token.split(".")
    return json.loads(base64.urlsafe_b64decode(header + "==")), payload, signature


def packed(header: dict[str, Any]) -> str:
    """A header as a segment."""
    return base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")


def test_a_token_without_a_signature_is_refused(owner: OwnerKey) -> None:
    header, payload, _ = parts(owner.sign(TEXT))
    for algorithm in ("none", "None", None):
        with pytest.raises(MandateRefused, match="not signed with Ed25519"):
            owner.opened(f"{packed({**header, 'alg': algorithm})}.{payload}.")


def test_the_public_key_is_no_shared_secret(owner: OwnerKey) -> None:
    header, _, _ = parts(owner.sign(TEXT))
    secret = OctKey.import_key(owner.thumbprint)
    forged = jws.serialize_compact({**header, "alg": "HS256"}, TEXT, secret, algorithms=["HS256"])
    with pytest.raises(MandateRefused, match="not signed with Ed25519"):
        owner.opened(forged)


def signed_by(pair: OKPKey, header: dict[str, Any]) -> str:
    """A token of somebody with a key of their own."""
    registry = jws.JWSRegistry(algorithms=["Ed25519"], strict_check_header=False)
    return jws.serialize_compact(header, TEXT, pair, registry=registry)


def test_the_signature_of_another_owner_is_refused_by_name_and_by_signature(owner: OwnerKey) -> None:
    stranger = OKPKey.generate_key("Ed25519")
    header = {"alg": "Ed25519", "typ": MANDATE_TYPE}
    with pytest.raises(MandateRefused, match="another owner"):
        owner.opened(signed_by(stranger, {**header, "kid": stranger.thumbprint()}))
    with pytest.raises(MandateRefused, match="does not fit"):
        owner.opened(signed_by(stranger, {**header, "kid": owner.thumbprint}))
    with pytest.raises(MandateRefused, match="what we do not write"):
        owner.opened(signed_by(stranger, {**header, "kid": owner.thumbprint, "jwk": stranger.as_dict(private=False)}))


def test_a_token_of_another_type_is_refused(settings: Settings, owner: OwnerKey) -> None:
    seed = (settings.data_dir / KEY_FILE).read_bytes()
    from market.signing import ed25519

    for kind in ("JWT", "gpubroker-receipt+jws"):
        other = signed_by(ed25519(seed), {"alg": "Ed25519", "typ": kind, "kid": owner.thumbprint})
        with pytest.raises(MandateRefused, match="its type is not"):
            owner.opened(other)


def test_every_changed_byte_is_noticed(owner: OwnerKey) -> None:
    token = owner.sign(TEXT)
    header, payload, signature = token.split(".")
    other = base64.urlsafe_b64encode(TEXT.replace("100", "900").encode()).decode().rstrip("=")
    for changed in (f"{header}.{other}.{signature}", f"{header}.{payload}.{signature[:-3]}AAA", f"{header}.{payload}."):
        with pytest.raises(MandateRefused, match="does not fit"):
            owner.opened(changed)


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "....", "é.é.é", "{}", "e30.e30.e30.e30.e30"])
def test_what_is_no_token_is_refused(owner: OwnerKey, token: str) -> None:
    with pytest.raises(MandateRefused):
        owner.opened(token)
