"""The private servers of a run, and a fresh bed for each measurement: a database, an empty broker, a folder."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, text

from rigs.bench.bed import QUEUE, Bed
from rigs.bench.figures import NotMeasured
from rigs.chaos.machines import SERVERS, Machine, wipe
from support import private_servers

if TYPE_CHECKING:
    from support.kafka_mock import MockProcess

EMPTY = "bench_empty"  # the template of fresh databases: migrated, and nothing in it


class Rig:
    """Starts servers when they are first needed; leaving the `with` block ends them all."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.say = say
        self._cleanup = ExitStack()
        self._machines: dict[str, Machine] = {}
        self._templates: set[str] = set()
        self._beds = 0
        self._kafka: MockProcess | None = None

    def __enter__(self) -> "Rig":
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def machine(self, name: str) -> Machine:
        """postgres, redis or rabbitmq, running."""
        if name not in self._machines:
            if name not in private_servers.obtain([name]):
                raise NotMeasured(f"{name} can't be had; see above")
            machine = Machine(name, self.folder)
            self._cleanup.callback(machine.end)
            machine.start()
            self._machines[name] = machine
        return self._machines[name]

    def kafka(self) -> str:
        """The URL of librdkafka's own cluster, in a process of its own."""
        if self._kafka is None:
            from support.kafka_mock import MockProcess  # here, as not everybody has its client

            self._kafka = self._cleanup.enter_context(MockProcess("bench.Bridged"))
        return self._kafka.url

    def versions(self) -> dict[str, str]:
        """Of the servers that were started, in their own words."""
        found = {}
        for name, machine in self._machines.items():
            version = private_servers.VERSION.search(private_servers.answer(SERVERS[name], machine.port))
            found[name] = version[1].decode() if version else ""
        return found

    def admin(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as a superuser, outside any transaction; its rows."""
        engine = create_engine(self.url(database), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                result = connection.execute(text(statement))
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            engine.dispose()

    def url(self, database: str) -> str:
        """For SQLAlchemy."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.machine('postgres').port}/{database}"

    def template(self, name: str, fill: Callable[[str], None] = lambda _: None) -> str:
        """A database to copy from: migrated, then filled by `fill`, which gets its name. Made once."""
        if name not in self._templates:
            self.admin(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            self.admin(f"CREATE DATABASE {name}")
            with self._bed(name, "") as bed:
                bed.python("-m", "events", "migrate")
            fill(name)
            self._templates.add(name)
        return name

    @contextmanager
    def bed(self, broker: str = "", template: str = EMPTY) -> Iterator[Bed]:
        """A database like the template and an empty broker (redis, rabbitmq or none); all gone afterwards."""
        if template == EMPTY:
            self.template(EMPTY)
        machine = self.machine(broker) if broker else None
        name = f"bench_{self._beds + 1}"
        self.admin(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        bed = self._bed(name, machine.url if machine else "")
        try:
            with bed:
                yield bed
        finally:
            self.admin(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            for queue in (QUEUE, f"{QUEUE}.dead") if machine else ():
                with suppress(Exception):  # a queue that was never made
                    wipe(machine, queue)

    def _bed(self, database: str, broker_url: str) -> Bed:
        self._beds += 1
        folder = self.folder / f"bed-{self._beds}"
        folder.mkdir()
        return Bed(folder, self.url(database), broker_url, self.settle)

    def settle(self) -> None:
        """Before the clock runs: what the preparations left to be written is written."""
        self.admin("CHECKPOINT")
