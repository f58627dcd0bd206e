"""The writes that the benchmark's floor makes are those of the system, one after the other."""

from chalicelib.connections import connect_database
from infra.bench.driver import applied, drive
from infra.bench.recorded_writes import record
from infra.local.part_settings import settings_with
from loadgen.workload.generate import generate

COMMANDS = 150


def test_each_write_of_a_user_follows_the_one_before_it_also_where_parts_of_the_journal_are_closed(
    mongo_uri: str, mongo_database: str
) -> None:
    scratch = connect_database(settings_with(MONGO_URI=mongo_uri, MONGO_DATABASE=mongo_database))
    with scratch.client as client:
        tapes = list(record(scratch, generate(1, COMMANDS, 5, 1)).values())
        assert [[one.guarded.version for one in tape] for tape in tapes] == [list(range(len(tape))) for tape in tapes]
        assert sum(one.part is not None for one in tapes[0]) == (len(tapes[0]) - 1) // 64 == 2
        for most in (1, 4):
            again = client.get_database(f"{mongo_database}_{most}", write_concern=scratch.write_concern)
            try:
                assert drive(again, tapes, most)["writes"] == applied(again) == len(tapes[0])
            finally:
                client.drop_database(again.name)
