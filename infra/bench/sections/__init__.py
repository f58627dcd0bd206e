"""The sections of the benchmark, in the order in which a round runs them."""

from infra.bench.context import Section
from infra.bench.sections.any_server import AnyServer
from infra.bench.sections.ceiling import Ceiling
from infra.bench.sections.cost import Cost, MemoryUse
from infra.bench.sections.dumps import DumpSpeed
from infra.bench.sections.durability import Durability
from infra.bench.sections.floor import Floor
from infra.bench.sections.functions import Functions
from infra.bench.sections.growth import Growth
from infra.bench.sections.large import LargeAccounts
from infra.bench.sections.latency import Latency
from infra.bench.sections.pages import Pages
from infra.bench.sections.quotes import QuoteCost
from infra.bench.sections.replays import Replays
from infra.bench.sections.sustained import Sustained

SECTIONS: tuple[Section, ...] = (
    Floor(),
    Ceiling(),
    Replays(),
    Latency(),
    AnyServer(),
    Functions(),
    Cost(),
    MemoryUse(),
    QuoteCost(),
    Pages(),
    DumpSpeed(),
    Growth(),
    LargeAccounts(),
    Durability(),
    Sustained(),
)

TOGETHER = frozenset({"floor", "ceiling", "replay", "latency", "cost", "memory"})
"""Sections whose figures are compared with each other and must be from one run."""
