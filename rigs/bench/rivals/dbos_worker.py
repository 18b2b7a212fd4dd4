"""The same handlers as durable workflows of DBOS, on Postgres.

    python -m rigs.bench.rivals.dbos_worker prefill EVENTS
    python -m rigs.bench.rivals.dbos_worker work

A workflow on a queue, with one step: a transaction of a datasource, which writes the row and records its own outcome
with it. A queue is asked for work once in a polling interval, which is a second by default: as its documentation has it
for more throughput, the interval is shorter, and so many workflows may run at once in each process. READ COMMITTED, as
ours has it, is faster than its default, SERIALIZABLE. All else is its default.
"""

import os
import sys
import threading
from itertools import islice
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, SQLAlchemyDatasource

from rigs.bench.rivals.work import AT_ONCE, HANDLERS, QUEUE, bodies

URL = os.environ["BENCH_DATABASE_URL"]
AT_A_TIME = 50  # workflows in each process
POLLS_EVERY = 0.05  # seconds
_INSERT = sa.text("INSERT INTO bench_effects (handler, number) VALUES (:handler, :number)")

source = SQLAlchemyDatasource.create(URL, engine_kwargs={"pool_size": 20})
DBOS(config={
    "name": "bench", "system_database_url": URL, "executor_id": str(os.getpid()), "log_level": "WARNING",
})  # fmt: skip


@source.transaction(name="write", isolation_level="READ COMMITTED")
def write(handler: str, number: int) -> None:
    source.sql_session().execute(_INSERT, {"handler": handler, "number": number})


@DBOS.workflow(name="handle")
def handle(handler: str, number: int, **_: Any) -> None:
    write(handler, number)


def _launch(listen_to: list[str]) -> None:
    DBOS.listen_queues(listen_to)
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=AT_A_TIME, polling_interval_sec=POLLS_EVERY)


def prefill(events: int) -> None:
    _launch([])
    client, engine, waiting = DBOSClient(system_database_url=URL), sa.create_engine(source.engine.url), bodies(events)
    while some := list(islice(waiting, AT_ONCE)):
        with engine.begin() as connection:
            for body in some:
                for name in HANDLERS:
                    options = {"queue_name": QUEUE, "workflow_name": "handle"}
                    client.enqueue_in_transaction(connection, options, handler=name, **body)
    client.destroy()
    DBOS.destroy()


if __name__ == "__main__":
    if sys.argv[1] == "prefill":
        prefill(int(sys.argv[2]))
    else:
        _launch([QUEUE])
        threading.Event().wait()
