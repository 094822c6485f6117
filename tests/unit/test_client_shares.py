"""What the API tells of processes whose memory its walls hide."""

from __future__ import annotations

from decnet.web.api.fleet import Memory, _fill
from zygote.control.interface import WorkerState, ZygoteState

MIB = 1024  # KiB


def hidden(rss_mib: int) -> Memory:
    return Memory(private_kib=None, shared_kib=None, pss_kib=None, rss_kib=rss_mib * MIB)


def worker(name: str, pid: int, zygote: str) -> WorkerState:
    return WorkerState(name=name, state="ready", pid=pid, zygote=zygote, private=4 * MIB * 1024)


def zygote(name: str, pid: int, parent: str = "") -> ZygoteState:
    return ZygoteState(name=name, state="ready", pid=pid, parent=parent)


def test_branchs_inherited_pages_are_shared_with_the_whole_tree() -> None:
    workers = [worker("a", 1, "floor"), worker("b", 2, "floor"), worker("c", 3, "packet")]
    zygotes = [zygote("floor", 10), zygote("packet", 11, "floor")]
    memory = {1: hidden(84), 2: hidden(84), 3: hidden(104), 10: hidden(80), 11: hidden(100)}
    _fill(memory, workers, zygotes)
    assert all(each.estimated for each in memory.values())
    # 80 once for five processes, 20 more once for two, 4 for each worker.
    whole = sum(each.pss_kib or 0 for each in memory.values())
    assert abs(whole - (80 + 20 + 3 * 4) * MIB) < 10
    assert memory[1].pss_kib == (4 + 80 // 5) * MIB
    assert memory[3].pss_kib == (4 + 80 // 5 + 20 // 2) * MIB


def test_what_the_kernel_tells_is_left_as_it_is() -> None:
    seen = Memory(private_kib=7, shared_kib=1, pss_kib=8, rss_kib=9)
    _fill({1: seen}, [worker("a", 1, "floor")], [zygote("floor", 10)])
    assert (seen.private_kib, seen.pss_kib, seen.estimated) == (7, 8, False)


def test_tree_whose_trunk_is_gone_counts_as_one_of_its_own() -> None:
    memory = {3: hidden(104), 11: hidden(100)}
    _fill(memory, [worker("c", 3, "packet")], [zygote("packet", 11, "floor")])
    assert memory[3].pss_kib == (4 + 100 // 2) * MIB
