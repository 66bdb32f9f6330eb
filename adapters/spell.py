"""Spell: gone since Reddit bought it; kept so that old settings get a clear answer."""

from __future__ import annotations

from adapters.published import PublishedOnly


class Spell(PublishedOnly):
    """No offers, and the reason why."""

    name, title, website = "spell", "Spell", "https://spell.ml"
    source_url = "https://spell.ml"
    notice = "Defunct: Reddit bought Spell in June 2022 and the hosted product was closed."
