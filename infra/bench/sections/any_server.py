"""Commands per second if a server gets users whom another one has just served."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from infra.bench.context import Bench
from infra.bench.figures import LESS, MORE, Measured
from infra.bench.replays import LOADGEN, Setting
from infra.bench.sections.base import Plain
from infra.bench.sizes import Sizes


def settings_of(sizes: Sizes) -> Mapping[str, Setting]:
    """Return the replays by key: by workers that share the users or the requests, and by one that keeps no account."""
    users, commands = sizes.shared_users, sizes.commands
    return {
        **{f"workers.{count}": Setting(users, commands, workers=count) for count in sizes.workers},
        "balance.request": Setting(users, commands, workers=2, balance="request"),
        "forgetful": Setting(users, commands, keeps_accounts=False),
    }


def words_of(setting: Setting) -> str:
    """Return what is special about one of the replays."""
    if setting.workers > 1:
        return f"{setting.workers} workers, balanced by {setting.balance}"
    return "1 worker" if setting.keeps_accounts else "1 worker, no account kept"


@dataclass(frozen=True)
class AnyServer(Plain):
    """The same replay by more processes, which all get commands of all users, or not."""

    name: str = "any-server"
    measures: str = "the same replay by one server, by several that share the users or not, and by one without memory"
    seconds: float = 45.0

    def run(self, bench: Bench) -> Sequence[Measured]:
        """Replay on each set of servers."""
        return [
            one for key, setting in settings_of(bench.sizes).items() for one in self._of_setting(bench, key, setting)
        ]

    @staticmethod
    def _of_setting(bench: Bench, key: str, setting: Setting) -> Iterator[Measured]:
        replayed, words = bench.replay(setting), words_of(setting)
        system_us = sum(us for part, us in replayed.cpu_us.items() if part != LOADGEN)
        yield Measured(f"rate.{key}", f"{words}: rate", replayed.rate, "/s", MORE)
        yield Measured(f"cpu.{key}", f"{words}: CPU of servers and databases", system_us, "us", LESS)
        yield Measured(f"loadgen.{key}", f"{words}: load generator", replayed.cpu_us[LOADGEN], "us", LESS)
