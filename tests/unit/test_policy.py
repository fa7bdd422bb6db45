"""Rules folded for a standing: what is certain before any row is looked at."""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import configure_mappers

from backstay import has_role, me
from backstay.schema.policy import NO_STANDING, Standing, fold, fold_write
from support.fuzzed import Game, Score

configure_mappers()
OWN = Score.player_id == me.id
HIGH = Score.value > 3

IMPOSSIBLE: list[Any] = [
    OWN,
    me.id == Score.player_id,
    Score.player_id != me.id,
    Score.player_id < me.tenant,
    OWN & HIGH,
    OWN | has_role("admin"),
    OWN | (HIGH & (Score.player_id == me.tenant)),
    Game.scores.any(OWN),
    Score.game.has(Game.id == me.id),
]
OPEN: list[Any] = [
    HIGH,
    OWN | HIGH,
    ~sa.and_(OWN, HIGH),
    ~Game.scores.any(OWN),
    me.id.is_(None),
    Score.player_id.is_distinct_from(me.id),
    sa.exists(sa.select(sa.func.count()).select_from(Score).where(OWN)),
]


@pytest.mark.parametrize("rule", IMPOSSIBLE, ids=str)
def test_a_comparison_with_me_never_holds_for_the_anonymous(rule: Any) -> None:
    """Its value is null: who is not signed in is asked to sign in before any row is changed; a read finds nothing."""
    assert fold_write(rule, NO_STANDING) is False
    assert not isinstance(fold(rule, NO_STANDING), bool)


@pytest.mark.parametrize("rule", OPEN, ids=str)
def test_what_null_may_still_make_true_is_left_to_the_database(rule: Any) -> None:
    """Negation, `is null` and an aggregate without rows can hold: nothing is decided."""
    assert not isinstance(fold_write(rule, NO_STANDING), bool)


@pytest.mark.parametrize("rule", [OWN, Game.scores.any(OWN), ~sa.and_(OWN, HIGH)], ids=str)
def test_the_row_decides_for_who_is_signed_in(rule: Any) -> None:
    """Only flags are folded away."""
    assert not isinstance(fold_write(rule, Standing(True)), bool)
