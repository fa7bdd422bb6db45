"""The CPU time of a process tree: everything is counted once, whatever ends meanwhile."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import cpu


class FakeProc:
    """A /proc of single-threaded processes below the root 1."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, pid: int, *, ticks: int = 0, ended: int = 0, ran_ns: int | None = None, children: str = "") -> None:
        """Write one process; its name is as hard to parse as a name can be."""
        task = self.root / str(pid) / "task" / str(pid)
        task.mkdir(parents=True, exist_ok=True)
        (task / "children").write_text(children)
        before = "S 0 0 0 0 -1 0 0 0 0 0"
        (self.root / str(pid) / "stat").write_text(f"{pid} (a) b (c) {before} {ticks} 0 {ended} 0 20 0 1 0 0\n")
        if ran_ns is not None:
            (self.root / str(pid) / "schedstat").write_text(f"{ran_ns} 5 7\n")

    def drop(self, pid: int) -> None:
        """Let a process be gone, though its parent may still list it."""
        (self.root / str(pid) / "stat").unlink()


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    """An empty /proc."""
    return FakeProc(tmp_path)


def test_tree_is_summed_with_what_has_ended(proc: FakeProc) -> None:
    """A grandchild counts, and so does a child that was reaped."""
    proc.put(1, ticks=100, ended=50, children="2 3")
    proc.put(2, ticks=10, children="4 ")
    proc.put(3, ticks=1)
    proc.put(4, ticks=7, ended=2)
    proc.put(9, ticks=1_000)  # a stranger
    assert cpu.tree(1, proc.root) == [1, 2, 3, 4]
    assert cpu.tree_cpu_s(1, proc=proc.root) == pytest.approx(170 * cpu.TICK_S)


def test_difference_is_the_same_whether_a_process_ended_or_not(proc: FakeProc) -> None:
    """A backend that ends between two readings moves its time to the postmaster; the sum only grows."""
    proc.put(1, ticks=100, children="2 3")
    proc.put(2, ticks=30)
    proc.put(3, ticks=30)
    before = cpu.tree_cpu_s(1, proc=proc.root)
    proc.put(1, ticks=100, ended=35, children="3")
    assert cpu.tree_cpu_s(1, proc=proc.root) - before == pytest.approx(5 * cpu.TICK_S)


def test_process_of_one_thread_is_read_in_nanoseconds(proc: FakeProc) -> None:
    """Ten backends read in ticks would be wrong by up to 100 ms; without schedstat ticks are what there is."""
    proc.put(1, ticks=2, ended=3, ran_ns=21_500_000)
    assert cpu.tree_cpu_s(1, single=True, proc=proc.root) == pytest.approx(0.0215 + 3 * cpu.TICK_S)
    assert cpu.tree_cpu_s(1, single=False, proc=proc.root) == pytest.approx(5 * cpu.TICK_S)
    (proc.root / "1" / "schedstat").unlink()
    assert cpu.tree_cpu_s(1, single=True, proc=proc.root) == pytest.approx(5 * cpu.TICK_S)


def test_process_that_ends_during_a_look_makes_it_look_again(proc: FakeProc, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listed but gone when read: the parent, read before, does not have its time yet."""
    proc.put(1, ticks=100, children="2")
    proc.put(2, ticks=30)
    looks: list[int] = []
    tree: Callable[..., list[int]] = cpu.tree

    def ending(root: int, where: Path) -> list[int]:
        found = tree(root, where)
        looks.append(1)
        if len(looks) == 2:
            proc.drop(2)
        elif len(looks) == 3:
            proc.put(1, ticks=100, ended=30)
            found = [1]
        return found

    monkeypatch.setattr(cpu, "tree", ending)
    assert cpu.tree_cpu_s(1, proc=proc.root) == pytest.approx(130 * cpu.TICK_S)
    assert len(looks) == 4


def test_real_processes_are_counted_also_after_their_end() -> None:
    """The kernel's own figures: a child that burnt time keeps counting in its parent once it was reaped."""
    burn = "import time\nwhile time.process_time() < 0.15: pass"
    code = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {burn!r}]); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 30
        while (used_s := cpu.tree_cpu_s(parent.pid, single=True)) < 0.15 or len(cpu.tree(parent.pid)) > 1:
            assert time.monotonic() < deadline, f"only {used_s} s seen"
            time.sleep(0.01)
    finally:
        parent.kill()
        parent.wait()
    assert os.getpid() not in cpu.tree(parent.pid)
