"""What is to run on a machine that is bought, as a caller writes it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

if TYPE_CHECKING:
    from market.instances import Launch

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_KEY = re.compile(r"(ssh-(rsa|ed25519)|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]{16,}( [^\r\n]*)?")


class LaunchRequest(BaseModel):
    """Image, keys, script, environment and ports; what the provider cannot do is refused before anything is bought."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str = Field(default="", max_length=300)
    ssh_public_keys: list[Annotated[str, Field(max_length=2_000)]] = Field(default_factory=list, max_length=20)
    start_script: str = Field(default="", max_length=16_000)
    environment: dict[str, Annotated[str, Field(max_length=8_000)]] = Field(default_factory=dict, max_length=100)
    ports: list[Annotated[int, Field(ge=1, le=65_535)]] = Field(default_factory=list, max_length=50)

    @field_validator("ssh_public_keys")
    @classmethod
    def _public(cls, keys: list[str]) -> list[str]:
        """Public keys of OpenSSH; a private one must never be sent anywhere."""
        for key in keys:
            if "PRIVATE KEY" in key:
                raise ValueError("holds a private key: send the public one (`.pub`), and replace the private one")
            if not _KEY.fullmatch(key.strip()):
                raise ValueError("needs public keys as OpenSSH writes them: `ssh-ed25519 AAAA… name`")
        return [key.strip() for key in keys]

    @field_validator("environment")
    @classmethod
    def _named(cls, environment: dict[str, str]) -> dict[str, str]:
        for name in environment:
            if not _NAME.fullmatch(name):
                raise ValueError("needs names of letters, digits and underscores")
        return environment

    def as_launch(self, disk_gb: float) -> Launch:
        """For the provider, with the disk the quote was for."""
        from market.instances import Launch

        return Launch(
            image=self.image,
            ssh_public_keys=tuple(self.ssh_public_keys),
            start_script=self.start_script,
            environment=tuple(sorted(self.environment.items())),
            ports=tuple(self.ports),
            disk_gb=disk_gb,
        )
