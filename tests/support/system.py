"""A system under test: a ledger, perhaps a broker, and real worker processes, on the same footing in every mode."""

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import kombu
from sqlalchemy import func, select, text

import shop
from events.current_pipeline import use_pipeline
from events.pipeline import Pipeline
from events.settings.environment import setting_names
from events.settings.settings import Settings
from events.store.tables import event_deliveries
from support.databases import migrated_postgres, migrated_sqlite
from support.forwarder import Forwarder
from support.servers import PostgresDatabase, pooled, server_url
from support.template import Forked
from support.waiting import eventually

MODES = ("sqlite", "postgres", "redis", "rabbitmq")
POOLED = "pgbouncer"  # as postgres, through a pooler in transaction mode
BROKERS = {"redis": "REDIS", "rabbitmq": "AMQP"}
TESTS = Path(__file__).parent.parent


class Process:
    """A process of the system, started from the command line as users do; ended by its own process group."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with Path(os.devnull).open() as nothing, log.open("w") as file:
            self._popen = Forked(arguments, environment, log.parent, (nothing, file, file))
        self.pid = self._popen.pid

    def alive(self) -> bool:
        return self._popen.poll() is None

    def wait_for(self, words: str) -> None:
        def said() -> bool:
            assert self.alive() or words in self.log.read_text(), f"ended early:\n{self.log.read_text()[-3000:]}"
            return words in self.log.read_text()

        eventually(said, f"{words!r} in {self.log.name}:\n")

    def kill(self) -> None:
        """kill -9 of the whole process group: nothing gets to say goodbye."""
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def terminate(self) -> None:
        """SIGTERM, and no waiting."""
        self._popen.terminate()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.alive():
            self._popen.terminate()
        return self.exit_code()

    def exit_code(self) -> int:
        """Wait for its end. A process that doesn't end in time is killed, and that is a failure."""
        try:
            return self._popen.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.log.name} did not end:\n{self.log.read_text()[-3000:]}") from None


class System:
    """One database, perhaps one broker, and the processes started on them."""

    def __init__(self, mode: str, folder: Path, **settings: str) -> None:
        self.mode, self.folder = mode, folder
        elsewhere = "ledger_schema" in settings  # than in the database that is copied
        self._postgres = (
            None if mode == "sqlite" else PostgresDatabase() if elsewhere else PostgresDatabase(migrated_postgres())
        )
        self._forwarder = Forwarder(server_url(BROKERS[mode])) if mode in BROKERS else None
        database = self._postgres.url if self._postgres else migrated_sqlite(folder)
        values = {
            "database_url": pooled(database) if mode == POOLED else database,
            "listen": "off" if mode == POOLED else "on",
            "broker_url": self._forwarder.url if self._forwarder else "",
            "queue": f"test-{uuid4().hex[:12]}",
            "handlers": "shop",
            "lease": "3s",
            "stale_after": "3s",
            "broker_timeout": "2s",
        } | settings
        self.environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")} | {
            setting_names()[name]: value for name, value in values.items()
        }
        self.environment |= {
            "PYTHONPATH": str(TESTS / "support" / "application"),
            "SHOP_STARTS": str(folder / "starts"),
            "PYTHONUNBUFFERED": "1",
        }
        self.pipeline = Pipeline(Settings(**values))
        self.pipeline.migrate()
        self.processes: list[Process] = []
        self.worker_names: list[str] = []

    @contextmanager
    def in_use(self) -> Iterator["System"]:
        """publish() in this process goes to this system; at the end everything it started or made is gone."""
        use_pipeline(self.pipeline)
        try:
            yield self
        finally:
            use_pipeline(None)
            try:
                for process in filter(Process.alive, self.processes):
                    process.kill()  # an orderly end takes its time; tests of it are in tests/faults/test_shutdown.py
            finally:
                self._clean_up()

    def start_worker(
        self, pool: str = "prefork", name: str | None = None, concurrency: int = 2, **settings: str
    ) -> Process:
        self.worker_names.append(name or self._worker_name())
        arguments = ["celery", "-A", "events", "worker", "-c", str(concurrency), "-P", pool, "-l", "INFO"]
        process = self.start([*arguments, "-n", self.worker_names[-1]], **settings)
        process.wait_for("ready.")
        return process

    def _worker_name(self) -> str:
        return f"w{len(self.processes)}-{self.environment['EVENTS_QUEUE']}@test"  # RabbitMQ lets a name connect once

    def start(self, arguments: list[str], **settings: str) -> Process:
        environment = self.environment | {setting_names()[name]: value for name, value in settings.items()}
        process = Process(arguments, environment, self.folder / f"process-{len(self.processes)}.log")
        self.processes.append(process)
        return process

    def take_broker_away(self) -> None:
        """Cut the broker off. Where there is none, its place is the worker's own memory: end the workers."""
        if self._forwarder:
            self._forwarder.cut()
        else:
            for process in self.processes:
                process.stop()

    def bring_broker_back(self) -> None:
        if self._forwarder:
            self._forwarder.heal()
        else:
            self.start_worker()

    # Facts about the system.

    def states(self, *event_ids: UUID) -> Counter[str]:
        """How many deliveries of these events (or all) are in which state."""
        state = event_deliveries.c.state
        query = select(state, func.count()).group_by(state)
        if event_ids:
            query = query.where(event_deliveries.c.event_id.in_(event_ids))
        with self.pipeline.ledger.engine.connect() as connection:
            return Counter({row[0]: row[1] for row in connection.execute(query)})

    def deliveries(self, *event_ids: UUID) -> list[Any]:
        query = select(event_deliveries).order_by(event_deliveries.c.handler)
        if event_ids:
            query = query.where(event_deliveries.c.event_id.in_(event_ids))
        with self.pipeline.ledger.engine.connect() as connection:
            return list(connection.execute(query))

    def settled(self, count: int, *event_ids: UUID, timeout: float = 120) -> Counter[str]:
        """Wait until that many deliveries have an outcome; the states."""

        def outcome() -> Counter[str] | None:
            states = self.states(*event_ids)
            return states if states["succeeded"] + states["dead"] >= count else None

        try:
            return eventually(outcome, f"{count} deliveries settled", timeout)
        except AssertionError as error:
            logs = "\n".join(f"{p.log.name}:\n{p.log.read_text()[-2000:]}" for p in self.processes)
            raise AssertionError(f"{error}; states: {self.states(*event_ids)}\n{logs}") from None

    def effects(self, *event_ids: UUID) -> Counter[tuple[str, str]]:
        """Effects in the database, by event and handler. More than one of a kind is a handler's effect done twice."""
        with self.pipeline.ledger.engine.connect() as connection:
            rows = connection.execute(select(shop.effects.c.event_id, shop.effects.c.handler)).all()
        wanted = {str(event_id) for event_id in event_ids}
        return Counter((row[0], row[1]) for row in rows if not wanted or row[0] in wanted)

    def starts(self, event_id: UUID) -> list[str]:
        """The attempts of one event's deliveries that were started, in order."""
        path = self.folder / "starts"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(str(event_id))]

    def started_by(self, event_id: UUID) -> set[int]:
        """The process ids that started an event's deliveries."""
        return {int(line.split()[3]) for line in self.starts(event_id)}

    def broker_dead_letters(self) -> list[dict[str, Any]]:
        """The copies in the broker's dead-letter queue, taken out of it."""
        copies = []
        with kombu.Connection(self.environment["EVENTS_BROKER_URL"]) as connection, connection.channel() as channel:
            queue = kombu.Queue(f"{self.environment['EVENTS_QUEUE']}.dead").bind(channel)
            while message := queue.get(no_ack=True):
                copies.append(message.payload)
        return copies

    def insert_as_foreign_program(self, event_id: UUID, event_type: str, data: str) -> None:
        """What a program in any language does that knows only the eight documented columns."""
        statement = (
            "INSERT INTO event_store "
            "(id, aggregate_id, event_type, event_data, version, timestamp, processed, created_at) "
            "VALUES (:id, 'foreign', :event_type, {data}, 1, CURRENT_TIMESTAMP, false, CURRENT_TIMESTAMP)"
        ).format(data=":data" if self.mode == "sqlite" else "CAST(:data AS jsonb)")
        values = {"id": str(event_id), "event_type": event_type, "data": data}
        if self.mode != "sqlite":
            statement = statement.replace(":id", "CAST(:id AS uuid)")
        with self.pipeline.ledger.engine.begin() as connection:
            connection.execute(text(statement), values)

    def _clean_up(self) -> None:
        queue = self.environment["EVENTS_QUEUE"]
        if self._forwarder:
            with kombu.Connection(server_url(BROKERS[self.mode])) as connection, connection.channel() as channel:
                for name in (queue, f"{queue}.dead"):
                    if self.mode == "redis":
                        channel.queue_purge(name)  # which is what removes the list
                    channel.queue_delete(name)
                if self.mode == "rabbitmq":
                    channel.exchange_delete(f"{queue}.dlx")
            self._forwarder.cut()
        self.pipeline.close()
        if self._postgres:
            self._postgres.drop()
