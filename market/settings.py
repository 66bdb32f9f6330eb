"""What can be configured: one frozen object, read from `GPUBROKER_*` once by the composition root and passed on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from platformdirs import user_data_path
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every setting; the field's description is its documentation."""

    model_config = SettingsConfigDict(env_prefix="GPUBROKER_", frozen=True, extra="ignore", defer_build=True)

    data_dir: Path = Field(
        default_factory=lambda: user_data_path("gpubroker", appauthor=False),
        description="Folder of the embedded database and other state; created when missing.",
    )
    database_url: str = Field(
        default="",
        description="`postgresql://user:password@host/name` when the embedded SQLite file is outgrown.",
    )
    host: str = Field(default="127.0.0.1", description="Address `serve` listens on.")
    port: int = Field(default=10355, ge=0, le=65535, description="Port `serve` listens on.")
    public_url: str = Field(
        default="",
        pattern=r"^(https?://[^\s/?#@]+(/[^\s?#]*)?)?$",
        description="Address people reach `serve` at, for links to approvals; empty means this machine and its port.",
    )
    sync: Literal["on", "off"] = Field(
        default="on", description="Whether prices are fetched in the background; `off` serves what is stored."
    )
    providers: str = Field(
        default="", description="Comma-separated provider names to fetch from; empty means all of them."
    )
    sandbox_url: str = Field(
        default="http://127.0.0.1:10356", description="Where the simulated cloud of `gpubroker sandbox` listens."
    )
    read_only: bool = Field(default=False, description="Offer only tools that change nothing.")
    toolsets: str = Field(default="", description="Comma-separated toolsets to offer; empty means the default ones.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="WARNING", description="How much goes to the log on stderr."
    )
    request_state_key: str = Field(
        default="",
        repr=False,
        description="Secret of 32 characters or more that seals questions to the user; needed by several processes.",
    )
    seal_key: str = Field(
        default="",
        repr=False,
        description="Secret of 32 characters or more that seals quotes and approvals and encrypts what is to be "
        "launched; needed by several machines. Empty: the file `seal.key` in the data folder.",
    )
    webhook_loopback: bool = Field(
        default=False, description="Let webhooks go to this machine over http too: for trying them out, never in use."
    )
    smtp_url: str = Field(
        default="",
        repr=False,
        description="`smtp://` or `smtps://user:password@host:port` that sends mail; empty means no mail is sent.",
    )
    mail_from: str = Field(default="", description="Sender of mail.")
    mail_to: str = Field(default="", description="Who gets mail about approvals, bookings and alerts.")
    agent_key: str = Field(
        default="",
        repr=False,
        description="Key of the agent that calls over stdio or the command line (`gpubroker keys create`); empty is the"
        " local owner.",
    )
    owner_key: str = Field(
        default="",
        description="File of the key mandates are signed with; empty means `owner.key` in the data folder.",
    )

    @property
    def store_url(self) -> str:
        """The database to open: the configured one, else the SQLite file in the data folder."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir / 'gpubroker.db'}"

    @property
    def base_url(self) -> str:
        """Where links lead, without a slash at the end."""
        return self.public_url.rstrip("/") or f"http://127.0.0.1:{self.port}"

    @property
    def chosen_providers(self) -> frozenset[str] | None:
        """Names to fetch from, or None for all."""
        return _words(self.providers)

    @property
    def chosen_toolsets(self) -> frozenset[str] | None:
        """Toolsets to offer, or None for the default ones."""
        return _words(self.toolsets)


def _words(text: str) -> frozenset[str] | None:
    found = frozenset(word.strip() for word in text.split(",") if word.strip())
    return found or None
