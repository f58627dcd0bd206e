"""How a process enters itself in the database: the form of the data, and a number of its own."""

import os
from dataclasses import dataclass
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from chalicelib.domain.errors import UnknownDataVersionError
from chalicelib.store.documents import DATA_VERSION, STATE
from chalicelib.store.errors import UnknownOutcomeError
from chalicelib.store.registry import LEASE_SECONDS, PAUSE_SECONDS, Registry


@dataclass
class Meta:
    """A database with or without data of some version; counts the processes that enter themselves."""

    version: int | None = DATA_VERSION
    processes: int = 0
    account: Any = None
    is_down: bool = False
    seconds: float = 0.0
    stepped_ms: int = 0
    asked: int = 0
    made_indexes: int = 0

    def __getitem__(self, name: str) -> "Meta":
        return self

    def find_one_and_update(self, *_: Any, **__: Any) -> Any:
        self.asked += 1
        if self.is_down:
            raise AutoReconnect("gone")
        if self.version is None:
            return None
        self.processes += 1
        return {"version": self.version, "processes": self.processes}

    def find_one(self, query: Any, _form: Any) -> Any:
        if query == {}:
            return self.account
        return None if self.version is None else {"version": self.version}

    def update_one(self, query: Any, change: Any, *, upsert: bool) -> None:
        assert (query, upsert) == ({"_id": "data"}, True)
        self.version = change["$setOnInsert"]["version"]
        self.processes = change["$setOnInsert"]["processes"]

    def create_indexes(self, _: Any) -> None:
        self.made_indexes += 1

    def registry(self) -> Registry:
        return Registry(self, lambda: round(self.seconds * 1000) + self.stepped_ms, lambda: self.seconds)  # type: ignore[arg-type]


def test_a_process_enters_itself_once_and_takes_another_number_after_an_hour_by_either_clock() -> None:
    meta = Meta(processes=4)
    registry = meta.registry()
    registry.check()
    registry.check()
    assert (registry.number(), meta.asked) == (5, 1)
    meta.seconds += LEASE_SECONDS - 0.001
    assert registry.number() == 5
    meta.seconds += 0.001
    assert registry.number() == 6
    meta.stepped_ms = -3_600_000
    assert registry.number() == 7
    registry.check()
    assert meta.asked == 3


def test_after_a_fork_a_process_has_a_number_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    meta = Meta()
    registry = meta.registry()
    assert registry.number() == 1
    monkeypatch.setattr(os, "getpid", lambda: -1)
    registry.check()
    assert registry.number() == 2


def test_a_new_database_is_given_its_version_and_its_indexes(monkeypatch: pytest.MonkeyPatch) -> None:
    meta = Meta(version=None)
    assert meta.registry().number() == 1
    assert (meta.version, meta.made_indexes) == (DATA_VERSION, 1)
    ours = Meta(version=None, account={STATE: [{"version": 1}]})
    assert ours.registry().number() == 1


@pytest.mark.parametrize("meta", [Meta(version=DATA_VERSION - 1), Meta(version=0), Meta(None, account={"_id": "jane"})])
def test_data_of_another_version_are_left_alone(meta: Meta) -> None:
    with pytest.raises(UnknownDataVersionError):
        meta.registry().check()
    assert meta.made_indexes == 0


def test_the_version_of_the_data_can_be_looked_at_without_entering() -> None:
    Meta().registry().look()
    for version in (None, DATA_VERSION + 1):
        with pytest.raises(UnknownDataVersionError):
            Meta(version).registry().look()


def test_those_who_come_after_a_failure_share_it_for_a_while() -> None:
    meta = Meta(is_down=True)
    registry = meta.registry()
    for seconds in (0.0, PAUSE_SECONDS - 0.01):
        meta.seconds += seconds
        with pytest.raises(UnknownOutcomeError, match="gone"):
            registry.check()
    assert meta.asked == 1
    meta.seconds += 0.01
    meta.is_down = False
    registry.check()
    assert meta.asked == 2
