"""Seals that show a change, encryption that hides, and one key for every process of an installation."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.errors import StorageFailed, ValidationFailed
from market.sealing import KEY_BYTES, KEY_FILE, Sealer
from market.settings import Settings

FACTS = {"offer": "acme:h100-8:us-east-1", "total": "23.92"}
_SEALER = Sealer(bytes(range(KEY_BYTES)))


def _settings(folder: Path, **changes: str) -> Settings:
    return Settings(data_dir=folder, **changes)  # type: ignore[arg-type]  # only text settings are changed here


def test_a_seal_holds_for_the_same_facts_in_any_order_and_for_nothing_else(tmp_path: Path) -> None:
    sealer = Sealer.of(_settings(tmp_path))
    seal = sealer.seal("quote", FACTS)
    assert sealer.holds("quote", dict(reversed(FACTS.items())), seal)
    assert not sealer.holds("quote", {**FACTS, "total": "23.91"}, seal)
    assert not sealer.holds("approval", FACTS, seal)
    assert not sealer.holds("quote", FACTS, seal[:-1])
    assert not sealer.holds("quote", FACTS, "no seal \ud800")


def test_a_kind_cannot_be_stretched_into_the_facts() -> None:
    assert _SEALER.seal("a", ["b", "c"]) != _SEALER.seal('a",["b', ["c"])


def test_another_installation_seals_differently(tmp_path: Path) -> None:
    seal = Sealer.of(_settings(tmp_path / "one")).seal("quote", FACTS)
    assert not Sealer.of(_settings(tmp_path / "two")).holds("quote", FACTS, seal)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_what_was_encrypted_reads_back_and_never_looks_the_same_twice(text: str) -> None:
    sealed = _SEALER.encrypt(text)
    assert _SEALER.decrypt(sealed) == text
    assert _SEALER.encrypt(text) != sealed
    assert len(text) < 8 or text not in sealed


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_one_changed_character_is_noticed(at: int, by: int) -> None:
    sealed = _SEALER.encrypt("ssh-ed25519 AAAA")
    place = at % len(sealed)
    changed = sealed[:place] + chr((ord(sealed[place]) + by) % 256) + sealed[place + 1 :]
    with pytest.raises(ValueError, match="changed, or sealed with another key"):
        _SEALER.decrypt(changed)


@pytest.mark.parametrize("sealed", ["", "v1.", "v1.AAAA", "v2.AAAA", "plain text", "v1.\ud800"])
def test_what_was_never_encrypted_is_refused(sealed: str) -> None:
    with pytest.raises(ValueError, match="changed, or sealed with another key"):
        _SEALER.decrypt(sealed)


def test_the_key_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    seal = Sealer.of(_settings(folder)).seal("quote", FACTS)
    key = folder / KEY_FILE
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == [KEY_FILE]
    assert Sealer.of(_settings(folder)).seal("quote", FACTS) == seal


async def test_of_many_that_start_at_once_one_makes_the_key(tmp_path: Path) -> None:
    def seal() -> str:
        return Sealer.of(_settings(tmp_path)).seal("quote", FACTS)

    assert len(set(await asyncio.gather(*(asyncio.to_thread(seal) for _ in range(40))))) == 1


def test_the_setting_wins_over_the_file_and_must_be_long_enough(tmp_path: Path) -> None:
    shared = _settings(tmp_path / "one", seal_key="k" * KEY_BYTES)
    seal = Sealer.of(shared).seal("quote", FACTS)
    assert Sealer.of(_settings(tmp_path / "two", seal_key="k" * KEY_BYTES)).holds("quote", FACTS, seal)
    assert not (tmp_path / "one").exists()
    with pytest.raises(ValidationFailed, match="GPUBROKER_SEAL_KEY"):
        Sealer.of(_settings(tmp_path, seal_key="short"))
    assert "kkkk" not in repr(shared)


def test_a_damaged_key_is_not_replaced_behind_the_owners_back(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(b"half")
    with pytest.raises(StorageFailed, match="backup"):
        Sealer.of(_settings(tmp_path))
    assert (tmp_path / KEY_FILE).read_bytes() == b"half"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    with pytest.raises(StorageFailed, match="GPUBROKER_DATA_DIR"):
        Sealer.of(_settings(tmp_path / "taken" / "data"))
