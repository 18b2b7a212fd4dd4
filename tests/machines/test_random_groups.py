"""Random programs of handlers, run alone, in a group and as a batch: the same effects, outcomes and attempts.

What a program sees of its transaction goes into its effects, so a neighbour that is felt is found.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from programmed import HANDLERS, Batched, ByConnection, BySession
from sqlalchemy import delete, select

from events import get_engine, publish
from events.store.tables import event_store
from events.testing import InlinePipeline
from support.exploring import SECONDS, explore, long_enough
from support.grouped import Item, counted, deliver, in_use, row, run_the_rest, sent_together
from support.programs import (
    EVERYWHERE,
    LEASE,
    OF_POSTGRES,
    OF_PROCESSES,
    OF_SESSIONS,
    OF_SEVERAL,
    create_tables,
    effects,
)
from support.servers import PostgresDatabase
from support.system import MODES, TESTS, System

Program = Sequence[str]
ROUNDS = 3  # programs a seed
CALM = {  # of a batch, whose programs share a session, those words that are not about it
    "core", "driver", "publish", "orm", "nested", "savepoint", "get_bind", "bind", "fail", "cursor", "add, no flush",
}  # fmt: skip


Found = dict[str, tuple[str, int, list[str], int]]  # of each program: state, attempts, effects, events


@contextmanager
def database(kind: str, path: Path) -> Iterator[InlinePipeline]:
    server = PostgresDatabase() if kind == "postgres" else None
    try:
        with in_use(server.url if server else f"sqlite:///{path}") as pipeline:
            create_tables(get_engine())
            yield pipeline
    finally:
        if server:
            server.drop()


def _found(events: Sequence[Item]) -> Found:
    with get_engine().connect() as connection:
        written = connection.execute(select(effects.c.who, effects.c.what)).all()
        published = connection.execute(select(event_store.c.event_data).where(event_store.c.event_type == "Noticed"))
        names = [data["of"] if isinstance(data, dict) else str(data) for data in published.scalars()]
    return {
        event.place: (
            str(row(event).state), counted(event), sorted(what for who, what in written if who == event.place),
            sum(event.place in name for name in names),
        )
        for event in events
    }  # fmt: skip


def _clear() -> None:
    with get_engine().begin() as connection:
        for table in ("program_effects", "event_deliveries", "event_store"):
            connection.exec_driver_sql(f"DELETE FROM {table}")


def _run_inline(pipeline: InlinePipeline, kind: type[Item], programs: Sequence[Program], *, together: bool) -> Found:
    """Programs are named by their place; what became of each."""
    _clear()
    events = [kind(place=f"p{index:02}.", do="; ".join(program)) for index, program in enumerate(programs)]
    publish(events)
    group = sent_together(pipeline, HANDLERS[kind])
    for part in [group] if together else [(one,) for one in group]:
        deliver(pipeline, part)
    for _ in range(4):
        run_the_rest(pipeline)
    return _found(events)


def programs(random_: random.Random, words: Sequence[str]) -> list[Program]:
    """Of few words each time: of all of them, hardly any would be alone with its consequences."""
    few = [*random_.sample(words, random_.randint(1, 4)), *(word for word in ("look", "core", "fail") if word in words)]
    count = random_.randint(3, 8)
    return [[random_.choice(few) for _ in range(random_.randint(0, 5))] for _ in range(count)]


@long_enough
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_alone_in_a_group_and_in_a_batch_is_the_same(kind: str, tmp_path: Path) -> None:
    with database(kind, tmp_path / "events.db") as pipeline:

        def round_of(seed: int) -> None:
            random_ = random.Random(seed)
            for form in (ByConnection, BySession):
                words = EVERYWHERE + (OF_SESSIONS if form is BySession else [])
                words = words + (OF_POSTGRES if kind == "postgres" else [])
                some = programs(random_, words)
                alone = _run_inline(pipeline, form, some, together=False)
                assert _run_inline(pipeline, form, some, together=True) == alone, some
                if form is BySession:  # in one call they share a session, and so the words that are about it
                    calm = [[one for one in program if one in CALM] for program in some]
                    alone = _run_inline(pipeline, Batched, calm, together=False)
                    assert _run_inline(pipeline, Batched, calm, together=True) == alone, calm

        def rounds(seed: int) -> None:
            for index in range(ROUNDS):
                round_of(seed * ROUNDS + index)

        explore(rounds)


@long_enough
@pytest.mark.parametrize("mode", MODES if SECONDS else ["redis"])
def test_in_real_workers_too_and_when_they_outlast_their_lease_or_kill_their_process(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path, handlers="programmed", lease=f"{LEASE}s").in_use() as system:
        # Given a worker that knows of each handler that it is fast: only such share a transaction
        system.environment["PYTHONPATH"] += f":{TESTS}"
        create_tables(get_engine())
        # SQLite has one writer at a time, so that who sleeps over the lease keeps others' heartbeats waiting, too
        system.start_worker(concurrency=1 if mode == "sqlite" else 2)
        kinds: list[type[Item]] = [ByConnection, BySession, Batched]

        def run(kind: type[Item], some: Sequence[Program], *, together: bool) -> Found:
            events = [kind(place=f"p{index:02}.", do="; ".join(program)) for index, program in enumerate(some)]
            for part in [events] if together else [[event] for event in events]:
                publish(part)
                system.settled(len(part), *(event.event_id for event in part))
            found = _found(events)
            with get_engine().begin() as connection:
                connection.execute(delete(effects))
                connection.execute(delete(event_store).where(event_store.c.event_type == "Noticed"))
            return found

        for kind in kinds:
            run(kind, [[]] * 100, together=True)

        def round_of(seed: int) -> None:
            random_ = random.Random(seed)
            for kind in kinds if SECONDS else [random_.choice(kinds)]:
                words = [*EVERYWHERE, *(OF_SESSIONS if kind is BySession else []), *OF_PROCESSES]
                words += [one for one in OF_POSTGRES if one not in OF_SEVERAL and mode != "sqlite"]
                words = [*(one for one in words if one in CALM), *OF_PROCESSES] if kind is Batched else words
                some = programs(random_, words)
                # When each of several programs runs by itself, and all run at once; Then the same comes of them
                assert run(kind, some, together=True) == run(kind, some, together=False), some

        explore(round_of)
