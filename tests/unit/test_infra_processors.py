"""Which processors the servers of a stack take, and which they leave."""

import os

import pytest

from infra.host import affinity as processors


@pytest.mark.parametrize(("servers", "left"), [(1, [3, 5, 6]), (3, [6]), (4, []), (9, [])])
def test_servers_leave_what_comes_after_theirs(monkeypatch: pytest.MonkeyPatch, servers: int, left: list[int]) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {6, 5, 3, 1})
    assert processors.left_by(servers) == left


def test_a_system_without_the_call_leaves_it_to_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert processors.left_by(1) == []
