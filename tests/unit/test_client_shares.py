"""What can be told of processes whose memory a wall hides."""

from __future__ import annotations

from zygote.client.memory import Row
from zygote.client.shares import estimate_hidden
from zygote.control.interface import WorkerState, ZygoteState

MIB = 1024  # KiB


def hidden(pid: int, rss_mib: int) -> Row:
    return Row(pid, rss_kib=rss_mib * MIB, denied=True)


def worker(name: str, pid: int, zygote: str) -> WorkerState:
    return WorkerState(name=name, state="ready", pid=pid, zygote=zygote, private=4 * MIB * 1024)


def zygote(name: str, pid: int, parent: str = "") -> ZygoteState:
    return ZygoteState(name=name, state="ready", pid=pid, parent=parent)


def rows(**mib: int) -> dict[int, Row]:
    """By pid, of "p1=84"."""
    return {int(name[1:]): hidden(int(name[1:]), size) for name, size in mib.items()}


def test_branchs_inherited_pages_are_shared_with_the_whole_tree() -> None:
    workers = [worker("a", 1, "floor"), worker("b", 2, "floor"), worker("c", 3, "packet")]
    zygotes = [zygote("floor", 10), zygote("packet", 11, "floor")]
    seen = rows(p1=84, p2=84, p3=104, p10=80, p11=100)
    found = estimate_hidden(seen, workers, zygotes)
    assert all(row.estimated for row in found.values())
    # 80 once for five processes, 20 more once for two, 4 for each worker.
    whole = sum(row.pss_kib or 0 for row in found.values())
    assert abs(whole - (80 + 20 + 3 * 4) * MIB) < 10
    assert found[1].pss_kib == (4 + 80 // 5) * MIB
    assert found[1].uss_kib == 4 * MIB
    assert found[3].pss_kib == (4 + 80 // 5 + 20 // 2) * MIB


def test_what_the_kernel_tells_is_left_as_it_is() -> None:
    seen = Row(1, rss_kib=9, pss_kib=8, uss_kib=7)
    assert estimate_hidden({1: seen}, [worker("a", 1, "floor")], [zygote("floor", 10)]) == {1: seen}


def test_tree_whose_trunk_is_gone_counts_as_one_of_its_own() -> None:
    found = estimate_hidden(
        rows(p3=104, p11=100), [worker("c", 3, "packet")], [zygote("packet", 11, "floor")]
    )
    assert found[3].pss_kib == (4 + 100 // 2) * MIB


def test_worker_of_which_the_manager_tells_nothing_stays_unknown() -> None:
    told = WorkerState(name="a", state="ready", pid=1, zygote="floor")
    found = estimate_hidden(rows(p1=84, p10=80), [told], [zygote("floor", 10)])
    assert (found[1].pss_kib, found[1].estimated) == (None, False)
    assert found[10].pss_kib == 80 * MIB // 2
