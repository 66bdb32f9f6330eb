"""The criteria offers are ranked by, as columns, and in words why an offer stands where it stands."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from market.offers import Offer

Criterion = Literal["price", "performance", "memory", "availability", "reliability"]
CRITERIA: tuple[Criterion, ...] = ("price", "performance", "memory", "availability", "reliability")
BENEFIT = (False, True, True, True, True)
REFUSED = "refused lately"
AVAILABILITY_SCORE = {"available": 1.0, "limited": 0.6, "unknown": 0.4, REFUSED: 0.2, "unavailable": 0.0}
_UNITS = {"price": "$/h", "performance": "dense TFLOPS", "memory": "GB"}


@dataclass(frozen=True, slots=True)
class Table:
    """Criteria as columns over the offers; `unstated` holds which figures nobody publishes and are stood in for."""

    columns: dict[str, list[float]]
    unstated: dict[str, frozenset[int]]

    @classmethod
    def of(cls, offers: Sequence[Offer], *, refused: Container[str] = ()) -> Table:
        """The decision table of offers sold by the hour; `refused` are the ids of those that could not be had lately.

        A refusal weighs more than a listing without stock: somebody tried.
        """
        from market import gpus

        cards = gpus.catalogue()
        flops: list[float | None] = []
        for offer in offers:
            card = cards.get(offer.gpu) if offer.gpu else None
            peak = (card.bf16_tflops or card.fp16_tflops) if card else None
            flops.append(peak * offer.gpu_count * offer.gpu_fraction if peak else None)
        given: dict[str, list[float | None]] = {
            "price": [float(offer.price_per_hour_usd or 0) for offer in offers],
            "performance": flops,
            "memory": [offer.memory_gb * offer.gpu_count if offer.memory_gb else None for offer in offers],
            "availability": [
                AVAILABILITY_SCORE[
                    REFUSED if offer.id in refused and offer.availability == "limited" else offer.availability
                ]
                for offer in offers
            ],
            "reliability": [offer.reliability for offer in offers],
        }
        return cls(
            {name: _filled(values, *_STAND_INS.get(name, (min, ""))) for name, values in given.items()},
            {name: frozenset(at for at, value in enumerate(values) if value is None) for name, values in given.items()},
        )

    def gaps(self, weights: Mapping[str, float]) -> list[str]:
        """Which criteria that count were not stated by how many, and what stood in."""
        found = []
        for name, places in self.unstated.items():
            offers = len(self.columns[name])
            if weights[name] > 0 and places:
                how = (
                    f"taken as the {_STAND_INS[name][1]} of the others"
                    if len(places) < offers
                    else "it decides nothing"
                )
                found.append(f"{len(places)} of {offers} state no {name}; {how}.")
        return found


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


_STAND_INS: dict[str, tuple[Callable[[list[float]], float], str]] = {
    "performance": (min, "slowest"),
    "memory": (min, "smallest"),
    "reliability": (_middle, "middle"),
}


def _filled(values: list[float | None], stand_in: Callable[[list[float]], float], _said: str) -> list[float]:
    known = [value for value in values if value is not None]
    instead = stand_in(known) if known else 1.0
    return [instead if value is None else value for value in values]


def why(
    table: Table,
    weights: Mapping[str, float],
    best: int,
    at: int,
    parts: Mapping[str, float],
    regret: tuple[str, float] | None = None,
) -> str:
    """Against the winner (for the winner: against the field), criterion by criterion, what matters most first.

    `parts`: what each criterion brought the winner, or cost an offer against it, as `mathcore.explain` divides the
    score; without any the weights tell what matters. `regret`: the criterion that VIKOR holds against it most.
    """
    told = _against(table, weights, best, at, parts)
    return told if regret is None else f"{told} Greatest regret: {regret[0]} ({regret[1]:.3f})."


def _against(table: Table, weights: Mapping[str, float], best: int, at: int, parts: Mapping[str, float]) -> str:
    told = sorted(
        (name for name in CRITERIA if weights[name] > 0), key=lambda name: (-abs(parts.get(name, 0.0)), -weights[name])
    )
    if at == best:
        return "First: " + "; ".join(_standing(table, name, at) + _points(name, parts) for name in told) + "."
    losses: list[str] = []
    gains: list[str] = []
    for name in told:
        mine, winners = table.columns[name][at], table.columns[name][best]
        if mine != winners:
            said = f"{name} {_compared(table, name, at, best)}{_points(name, parts)}"
            (gains if _beats(name, mine, winners) else losses).append(said)
    said_parts = ["loses on " + ", ".join(losses)] if losses else []
    said_parts += ["wins on " + ", ".join(gains)] if gains else []
    return (
        "Against the first: " + "; ".join(said_parts) + "." if said_parts else "Equal to the first on every criterion."
    )


def _points(name: str, parts: Mapping[str, float]) -> str:
    points = abs(parts.get(name, 0.0))
    return f" ({points:.3f})" if points >= 0.0005 else ""


def _standing(table: Table, name: str, at: int) -> str:
    values = table.columns[name]
    if at in table.unstated[name]:
        return f"{name} not stated"
    better = sum(_beats(name, values[at], other) for other in values)
    return f"{name} {_figure(table, name, at)}{_unit(name)} beats {better} of {len(values) - 1}"


def _beats(name: str, mine: float, other: float) -> bool:
    return mine < other if name == "price" else mine > other


def _compared(table: Table, name: str, at: int, best: int) -> str:
    """Both figures, the unit once."""
    figures = [_figure(table, name, one) for one in (at, best)]
    stated = at not in table.unstated[name] or best not in table.unstated[name]
    return " against ".join(figures) + (_unit(name) if stated else "")


def _unit(name: str) -> str:
    return f" {_UNITS[name]}" if name in _UNITS else ""


def _figure(table: Table, name: str, at: int) -> str:
    value = table.columns[name][at]
    if at in table.unstated[name]:
        return "not stated"
    if name == "availability":
        return next(word for word, score in AVAILABILITY_SCORE.items() if score == value)
    return f"{value:g}"
