"""What open but idle pages cost: they poll the health, the account and the prices."""

import asyncio
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from chalicelib.http.page import WEB
from infra.bench.context import Bench
from infra.bench.figures import LESS, Measured
from infra.bench.processes import MACHINE, BenchFailedError, Sampler
from infra.bench.replays import bench_stack
from infra.bench.sections.base import Plain
from infra.local.background import BackgroundStack

SECONDS = 16.0
_SYMBOLS = "ABC,IBM,XYZ"
_HEALTH = "/health"
_HEAD = "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nIf-None-Match: {etag}\r\n\r\n"
_LENGTH = re.compile(rb"content-length: (\d+)")
_ETAG = re.compile(rb"etag: (\S+)", re.IGNORECASE)


def interval_ms(module: str, name: str) -> int:
    """Return an interval of the page, from its own module."""
    found = re.search(rf"^const {name} = ([\d_]+);", (WEB / module).read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None, f"{module} has no {name}"
    return int(found[1])


@dataclass(frozen=True)
class Pages(Plain):
    """Visible pages on which nothing is pending."""

    name: str = "pages"
    measures: str = "CPU time of the system for open pages at which nothing is done, as a share of the machine"
    seconds: float = 30.0

    def run(self, bench: Bench) -> Sequence[Measured]:
        """Open the pages and leave them open for a while."""
        count = bench.sizes.active_users
        bench.say(f"{count:,} open pages")
        folder = bench.folder / "pages"
        with bench_stack(folder) as stack:
            sampler = Sampler(stack.pids)
            begin, end, answers = asyncio.run(_open(stack, count, sampler))
        shutil.rmtree(folder)
        if set(answers) - {200, 304} or not answers[304]:
            raise BenchFailedError(f"open pages were answered {dict(answers)}: they take nothing but 200 and 304")
        seconds = end - begin
        machine = seconds * (os.cpu_count() or 1)
        cpu = {part: used / machine for part, used in sampler.cpu_seconds(begin, end).items() if part != MACHINE}
        words = f"{count:,} open pages: CPU"
        return [
            Measured("requests", f"{count:,} open pages: requests a second", answers.total() / seconds, "/s"),
            Measured("share", f"{words} of servers and databases", 100 * sum(cpu.values()), "% of the machine", LESS),
            *(Measured(f"share.{part}", f"{words} of {part}", 100 * share, "%", LESS) for part, share in cpu.items()),
        ]


async def _open(stack: BackgroundStack, count: int, sampler: Sampler) -> tuple[float, float, Counter[int]]:
    """Keep so many pages open; return begin and end (epoch seconds) and the number of answers by status."""
    pages = [_Page(stack, f"viewer{number}") for number in range(count)]
    for page in pages:
        await page.read_account()
    answers: Counter[int] = Counter()
    begin = time.time()
    with sampler.running():
        await asyncio.gather(*(page.look(begin, place / count, answers) for place, page in enumerate(pages)))
    return begin, begin + SECONDS, answers


class _Page:
    """The requests of an open page, over its one connection."""

    def __init__(self, stack: BackgroundStack, user: str) -> None:
        self._host = urlsplit(stack.url).netloc
        self._token = stack.trader_token(user)
        self._account = f"/users/{user}/account?after=0.0"
        self._etag = '""'
        self._asks = {
            _HEALTH: interval_ms("connection.js", "EVERY_MS") / 1000,
            self._account: interval_ms("account.js", "EVERY_MS") / 1000,
            f"/users/{user}/prices?symbols={_SYMBOLS}": interval_ms("account.js", "QUOTE_LIFETIME_MS") / 1000,
        }

    async def read_account(self) -> None:
        """Connect, and read the account for the first time."""
        host, _, port = self._host.partition(":")
        self._reader, self._writer = await asyncio.open_connection(host, int(port))
        await self._ask(self._account)

    async def look(self, begin: float, phase: float, answers: Counter[int]) -> None:
        """Send each request at its interval; `phase`, from 0 to 1, is the page's offset within it.

        Reading the account postpones the next question for the health, as it does on the page.
        """
        due = {path: begin + phase * every for path, every in self._asks.items()}
        between = self._asks[_HEALTH]
        due[_HEALTH] = begin + (due[self._account] - self._asks[self._account] - begin) % between
        while due[path := min(due, key=due.__getitem__)] < begin + SECONDS:
            await asyncio.sleep(max(0.0, due[path] - time.time()))
            answers[await self._ask(path)] += 1
            if path == self._account:
                due[_HEALTH] = max(due[_HEALTH], due[path] + between)
            due[path] += self._asks[path]
        self._writer.close()

    async def _ask(self, path: str) -> int:
        text = _HEAD.format(path=path, host=self._host, token=self._token, etag=self._etag)
        self._writer.write(text.encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        if length := _LENGTH.search(head):
            await self._reader.readexactly(int(length[1]))
        if path == self._account and (etag := _ETAG.search(head)):
            self._etag = etag[1].decode()
        return int(head.split(b" ", 2)[1])
