"""The prompts: one Markdown file each, a head of `key: value` lines, `---`, then the text with `${argument}` in it.

An argument line is `argument: name | what it is`, or `argument: name = default | what it is` when it may be left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template

MAX_ARGUMENT_CHARACTERS = 4_000
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]+")


class PromptMisused(ValueError):
    """Arguments a prompt cannot be filled with; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One blank of a prompt; `default` is None when it must be given."""

    name: str
    description: str
    default: str | None

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is None


@dataclass(frozen=True, slots=True)
class PromptText:
    """One prompt as written in its file."""

    name: str
    title: str
    description: str
    arguments: tuple[Argument, ...]
    body: str

    def filled(self, given: Mapping[str, str]) -> str:
        """The text with its blanks filled. Raises PromptMisused for missing, unknown or oversized arguments."""
        names = [argument.name for argument in self.arguments]
        if unknown := sorted(set(given) - set(names)):
            raise PromptMisused(f"`{self.name}` has no argument `{unknown[0][:60]}`; it takes {_listed(names)}.")
        if missing := [a.name for a in self.arguments if a.required and not given.get(a.name, "").strip()]:
            raise PromptMisused(f"`{self.name}` needs {_listed(missing)}.")
        if long := [name for name, value in given.items() if len(value) > MAX_ARGUMENT_CHARACTERS]:
            raise PromptMisused(f"`{long[0]}` must have at most {MAX_ARGUMENT_CHARACTERS} characters.")
        values = {a.name: _CONTROL.sub(" ", given.get(a.name, "").strip()) or a.default or "" for a in self.arguments}
        return Template(self.body).substitute(values)


@cache
def prompts() -> Mapping[str, PromptText]:
    """Every prompt by name, in the order of their file names."""
    return {
        path.stem: parsed(path.stem, path.read_text("utf-8")) for path in sorted(Path(__file__).parent.glob("*.md"))
    }


def parsed(name: str, text: str) -> PromptText:
    """A prompt out of the text of its file. Raises ValueError when the head is incomplete or a blank is undeclared."""
    head, separator, body = text.partition("\n---\n")
    lines = [line.partition(":") for line in head.splitlines() if line.strip()]
    once = {key.strip(): value.strip() for key, _, value in lines if key.strip() != "argument"}
    arguments = tuple(_argument(value) for key, _, value in lines if key.strip() == "argument")
    if not separator or set(once) != {"title", "description"}:
        raise ValueError(f"prompt {name}: the head needs `title:` and `description:`, then a line `---`")
    blanks = set(Template(body).get_identifiers())
    if blanks != {argument.name for argument in arguments}:
        raise ValueError(f"prompt {name}: the text uses {sorted(blanks)}, the head declares other arguments")
    return PromptText(name, once["title"], once["description"], arguments, body.strip())


def _argument(line: str) -> Argument:
    declared, _, description = line.partition("|")
    name, optional, default = declared.partition("=")
    return Argument(name.strip(), description.strip(), default.strip() if optional else None)


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"
