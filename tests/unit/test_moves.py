"""Which workers move next to a new generation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from zygote.manager.moves import How, Limits, Member, Stage, is_done, next_moves

BESIDE, AFTER = How.BESIDE, How.AFTER


def lap(name: str, *after: str) -> Member:
    return Member(name, after=after, overlap=True)


def play(members: list[Member], limits: Limits) -> list[list[tuple[str, How]]]:
    """All rounds, in each of which every move that was begun is done."""
    rounds = []
    while chosen := next_moves(members, limits):
        rounds.append(chosen)
        done = {name for name, _ in chosen}
        members = [replace(m, stage=Stage.MOVED) if m.name in done else m for m in members]
    assert is_done(members)
    return rounds


def test_one_after_another_in_order() -> None:
    members = [lap("a"), lap("b"), Member("c")]
    assert play(members, Limits()) == [[("a", BESIDE)], [("b", BESIDE)], [("c", AFTER)]]


def test_nothing_more_begins_while_as_many_as_may_are_moving() -> None:
    moving = replace(lap("a"), stage=Stage.MOVING, how=BESIDE)
    assert next_moves([moving, lap("b")], Limits()) == []
    assert next_moves([moving, lap("b")], Limits(max_surge=2)) == [("b", BESIDE)]
    stopped = Member("a", stage=Stage.MOVING, how=AFTER)
    assert next_moves([stopped, lap("b")], Limits(max_surge=1, max_unavailable=1)) == [
        ("b", BESIDE)
    ]


def test_surge_and_unavailable_are_bounds_of_their_own() -> None:
    members = [lap("a"), lap("b"), lap("c"), Member("d"), Member("e"), Member("f")]
    assert next_moves(members, Limits(2, 1)) == [("a", BESIDE), ("b", BESIDE), ("d", AFTER)]
    assert next_moves(members, Limits(1, 2)) == [("a", BESIDE), ("d", AFTER), ("e", AFTER)]


def test_without_surge_all_are_stopped_first() -> None:
    assert play([lap("a"), lap("b")], Limits(0, 0)) == [[("a", AFTER)], [("b", AFTER)]]
    assert play([lap("a"), lap("b")], Limits(0, 2)) == [[("a", AFTER), ("b", AFTER)]]


def test_one_that_may_not_run_twice_moves_though_none_may_be_unavailable() -> None:
    assert play([Member("a"), Member("b")], Limits(4, 0)) == [[("a", AFTER)], [("b", AFTER)]]


def test_one_without_memory_for_two_is_stopped_first() -> None:
    members = [replace(lap("a"), fits=False), lap("b")]
    assert next_moves(members, Limits(2, 0)) == [("a", AFTER), ("b", BESIDE)]


def test_needs_move_before_those_that_come_after_them() -> None:
    members = [lap("web", "api"), lap("api", "bus"), lap("bus"), lap("other")]
    rounds = play(members, Limits(max_surge=4))
    assert [[name for name, _ in each] for each in rounds] == [["bus", "other"], ["api"], ["web"]]


def test_needs_that_do_not_move_hold_nobody_up() -> None:
    members = [lap("web", "api", "elsewhere"), replace(lap("api"), stage=Stage.LEFT)]
    assert next_moves(members, Limits()) == [("web", BESIDE)]


def test_unsettled_one_is_waited_for_and_others_go_on() -> None:
    unsettled = replace(lap("api"), stage=Stage.UNSETTLED)
    members = [unsettled, lap("web", "api"), lap("other")]
    assert next_moves(members, Limits(4)) == [("other", BESIDE)]
    assert not is_done([unsettled])


@pytest.mark.parametrize("stage", [Stage.WAITING, Stage.MOVING, Stage.UNSETTLED])
def test_not_done_while_somebody_has_to_move(stage: Stage) -> None:
    assert not is_done([replace(lap("a"), stage=stage), replace(lap("b"), stage=Stage.MOVED)])


def test_done_with_nobody() -> None:
    assert is_done([])
    assert next_moves([], Limits()) == []
