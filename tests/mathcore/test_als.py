"""Collaborative filtering: the loss never rises, the vectors are the right ones, strangers are served."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from mathcore.als import factorise, fold_in, loss, recommend

_tables = st.tuples(st.integers(1, 8), st.integers(1, 8)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.5, 40.0]))
)
_used = _tables.filter(lambda table: bool(table.any()))


def _clusters() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Two kinds of users: the first half uses the first half of the items; each leaves one of its own out."""
    table = np.zeros((12, 10))
    for user in range(12):
        own = range(5) if user < 6 else range(5, 10)
        for item in own:
            table[user, item] = 0.0 if item == own[user % 5] else 1 + user % 3
    return table


@pytest.mark.requirement("PROP-9")
@settings(deadline=None)
@given(_used, st.integers(1, 6), st.sampled_from([0.01, 0.1, 10.0]), st.sampled_from([0.5, 40.0]), st.integers(0, 99))
def test_the_loss_never_rises(table: Any, factors: int, regularization: float, alpha: float, seed: int) -> None:
    found = factorise(table, factors=factors, regularization=regularization, alpha=alpha, seed=seed, tolerance=0)
    # Near the end a turn gains less than the sum over all cells can show.
    unit = 1e-12 * found.losses[0]
    assert (np.diff(found.losses) <= unit).all()
    counted = loss(table, found.users, found.items, regularization=regularization, alpha=alpha)
    assert found.losses[-1] == pytest.approx(counted, abs=unit, rel=1e-9)


@pytest.mark.requirement("PROP-9")
def test_each_half_turn_lowers_the_loss_counted_over_every_cell() -> None:
    table = csr_array(np.random.default_rng(3).poisson(0.3, (60, 40)).astype(float))
    found = factorise(table, factors=5, iterations=1, tolerance=0)
    counted = [loss(table, found.users, found.items, regularization=0.1, alpha=40.0)]
    for _ in range(20):
        found = factorise(table, factors=5, iterations=1, tolerance=0, start=(found.users, found.items))
        dense = np.asarray(table.todense())
        cells = (1 + 40 * dense) * ((dense > 0) - found.users @ found.items.T) ** 2
        counted.append(float(cells.sum() + 0.1 * ((found.users**2).sum() + (found.items**2).sum())))
        assert found.losses[-1] == pytest.approx(counted[-1], rel=1e-12)
    assert (np.diff(counted) <= 0).all()


@pytest.mark.requirement("PROP-9")
def test_turns_end_when_one_gains_less_than_the_tolerance() -> None:
    found = factorise(_clusters(), factors=3, regularization=10.0, iterations=500, tolerance=1e-6)
    assert found.converged
    before, last = found.losses[-3], found.losses[-1]
    assert before - last <= 1e-6 * before
    earlier = np.array(found.losses[:-2:2])
    assert ((earlier[:-1] - earlier[1:]) > 1e-6 * earlier[:-1]).all()
    assert not factorise(_clusters(), factors=3, iterations=2, tolerance=0).converged


def test_the_fast_solver_arrives_where_the_exact_one_does() -> None:
    dice = np.random.default_rng(5)
    table = csr_array(dice.poisson(0.2, (200, 120)).astype(float))
    start = (np.zeros((200, 8)), dice.normal(0, 0.1, (120, 8)))
    exact = factorise(table, factors=8, iterations=60, start=start)
    fast = factorise(table, factors=8, iterations=60, start=start, solver="fast", tolerance=0)
    assert fast.losses[-1] == pytest.approx(exact.losses[-1], rel=0.01)
    assert fast.losses[-1] == pytest.approx(
        loss(table, fast.users, fast.items, regularization=0.1, alpha=40.0), rel=1e-4
    )
    assert (np.diff(fast.losses) <= 1e-5 * fast.losses[0]).all()


@pytest.mark.parametrize("solver", ["exact", "fast"])
def test_the_same_seed_gives_the_same_factors(solver: Any) -> None:
    one, same = (factorise(_clusters(), solver=solver, seed=7) for _ in range(2))
    assert (one.users == same.users).all()
    assert (one.items == same.items).all()
    assert (one.users != factorise(_clusters(), solver=solver, seed=8).users).any()


def test_what_is_learnt_does_not_depend_on_how_the_table_is_given() -> None:
    dense = _clusters()
    before = csr_array(dense)
    given = before.copy()
    given.data[:] *= 1.0
    for other in (given, given.tocoo(), given.tocsc(), dense.tolist()):
        assert factorise(other).losses == factorise(dense).losses
    assert (given.data == before.data).all()


def test_the_item_a_kind_of_user_lacks_is_recommended_to_it() -> None:
    table = _clusters()
    model = factorise(table, factors=4, regularization=1.0)
    for user in range(12):
        items = np.flatnonzero(table[user])
        own = range(5) if user < 6 else range(5, 10)
        found = recommend(model, items.tolist(), table[user, items].tolist(), top_k=1)
        assert found.basis == "history"
        assert found.items.tolist() == [own[user % 5]]


def test_a_user_folded_in_gets_the_vector_that_a_turn_would_give() -> None:
    table = _clusters()
    model = factorise(table, factors=4)
    turned = factorise(table, factors=4, iterations=1, start=(model.users, model.items))
    for user in range(12):
        items = np.flatnonzero(table[user])
        vector = fold_in(model, items.tolist(), table[user, items].tolist())
        assert vector == pytest.approx(turned.users[user], abs=1e-10)


@pytest.mark.requirement("FR-MATH-006")
def test_somebody_without_history_is_shown_what_most_use_and_told_so() -> None:
    model = factorise([[1, 1, 0, 1], [9, 1, 0, 0], [0, 1, 2, 0]])
    found = recommend(model, [], [], top_k=3)
    assert found.basis == "popularity"
    assert found.items.tolist() == [1, 0, 2]
    assert found.scores.tolist() == pytest.approx([1, 2 / 3, 1 / 3])
    assert fold_in(model, [], []).tolist() == [0.0] * 32


def test_what_a_user_has_is_shown_again_only_when_asked() -> None:
    model = factorise(_clusters())
    assert not set(recommend(model, [0, 1], [1, 1], top_k=99).items.tolist()) & {0, 1}
    assert set(recommend(model, [0, 1], [1, 1], top_k=99, repeat=True).items.tolist()) == set(range(10))


def test_users_and_items_without_a_cell_get_zeros() -> None:
    model = factorise([[1, 0, 0], [0, 0, 0], [1, 0, 2]], factors=2)
    assert model.users[1].tolist() == [0, 0]
    assert model.items[1].tolist() == [0, 0]
    assert model.popularity.tolist() == [1.0, 0.0, 0.5]


def test_rows_that_do_not_fit_one_block_are_learnt_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.random.default_rng(1).poisson(0.5, (40, 30)).astype(float)
    whole = factorise(table, factors=6)
    monkeypatch.setattr("mathcore.als.BLOCK_BYTES", 1)
    assert factorise(table, factors=6).losses == pytest.approx(whole.losses, rel=1e-12)


@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        ([[1, -1]], {}, "zero or above"),
        ([[1, np.nan]], {}, "finite"),
        ([[1, np.inf]], {}, "finite"),
        ([[0, 0]], {}, "no interaction"),
        ([], {}, "at least one user"),
        ([[]], {}, "at least one user"),
        ([[1, 2], [3]], {}, "as long as"),
        ([["a"]], {}, "numbers"),
        ([[1]], {"factors": 0}, "factors"),
        ([[1]], {"iterations": 0}, "iterations"),
        ([[1]], {"alpha": 0.0}, "alpha"),
        ([[1]], {"alpha": np.nan}, "alpha"),
        ([[1]], {"regularization": 0.0}, "regularization"),
        ([[1]], {"tolerance": 1.0}, "tolerance"),
        ([[1]], {"solver": "quick"}, "quick"),
        ([[1]], {"start": ([[1.0]], [[1.0], [2.0]])}, "do not fit"),
        ([[1]], {"start": ([[1.0]], [[np.nan]])}, "factor"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(table: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        factorise(table, **options)


def test_a_system_that_rounding_makes_singular_is_said_to_be() -> None:
    with pytest.raises(ValueError, match="singular"):
        factorise([[1, 1], [1, 1]], factors=4, regularization=1e-300, alpha=1e12)


@pytest.mark.parametrize(
    ("items", "strengths", "said"),
    [
        ([0], [], "do not match"),
        ([9], [1], "0 to 2"),
        ([-1], [1], "0 to 2"),
        ([0, 0], [1, 1], "different"),
        ([0], [0], "above zero"),
        ([0], [np.nan], "finite"),
    ],
)
def test_a_history_that_makes_no_sense_is_refused(items: list[int], strengths: list[float], said: str) -> None:
    model = factorise([[1, 0, 2]])
    with pytest.raises(ValueError, match=said):
        recommend(model, items, strengths)
    with pytest.raises(ValueError, match="top_k"):
        recommend(model, [], [], top_k=0)
