"""What the faults hit: servers, proxies between every two parties, producers, workers, relays."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from rigs.chaos.machines import Machine, waiting, wipe
from rigs.chaos.plan import BROKER_TROUBLES, Fault, is_brokered, links
from rigs.chaos.processes import Process, Supervisor
from rigs.chaos.proxy import Proxy
from rigs.chaos.troubles import trouble
from rigs.chaos.vitals import Vitals
from rigs.demo.worker import ROOT

QUEUE = "chaos"
RATE = 4.0  # transactions a second of each of two producers: what two cores can do beside the faults
SHUTDOWN = 10.0  # seconds that a worker has, in a rolling restart


class System:
    """One run's servers and processes; leaving the `with` block ends them all."""

    def __init__(self, mode: str, folder: Path, seed: int, *, control: bool, say: Callable[[str], None]) -> None:
        self.mode, self.folder, self.control = mode, folder, control
        self._seed = seed
        self._say = say
        self._cleanup = ExitStack()
        self.database = Machine("postgres", folder) if mode != "sqlite" else None
        broker = "redis" if mode == "redis" else "rabbitmq"
        self.broker = Machine(broker, folder) if is_brokered(mode) else None
        self.proxies: dict[str, Proxy] = {}
        self.processes: list[Process] = []
        self.vitals: Vitals

    def __enter__(self) -> "System":
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    @property
    def engine(self) -> Engine:
        """The rig's own connections: past the proxies, and past the package."""
        url = self.database.url.replace("postgresql:", "postgresql+psycopg:") if self.database else self._file
        return create_engine(url, pool_pre_ping=True)

    def of(self, role: str) -> list[Process]:
        return [process for process in self.processes if process.role == role]

    def producer_files(self) -> list[Path]:
        return sorted(self.folder.glob("producer-*.txt"))

    def waiting(self) -> int:
        return waiting(self.broker, QUEUE) if self.broker else 0

    def inflict(self, fault: Fault) -> None:
        """The whole of it: what lasts has ended on return."""
        role = fault.target if fault.target != "child" else "worker"
        if fault.target in self.proxies:
            proxy = self.proxies[fault.target]
            (proxy.cut if fault.kind == "cut" else proxy.hang)()
            time.sleep(fault.lasts)
            proxy.heal()
        elif fault.target in ("database", "broker"):
            self._hit_machine(fault)
        elif fault.target == "workers one by one":
            for worker in self.of("worker"):
                worker.terminate(SHUTDOWN + 5)
                self._until_started_again(worker)
        else:
            chosen = self.of(role)[fault.which % len(self.of(role))]
            target = chosen.child(fault.which) if fault.target == "child" else None
            if fault.target == "child" and target is None:
                return
            hit = chosen.signal if target is None else lambda number: _signal(target, number)
            if fault.kind == "kill":
                hit(signal.SIGKILL)
                return
            hit(signal.SIGSTOP)
            time.sleep(fault.lasts)
            hit(signal.SIGCONT)

    def heal(self) -> None:
        """Nothing is broken any more."""
        for proxy in self.proxies.values():
            proxy.heal()
        for process in self.processes:
            process.signal(signal.SIGCONT)

    def _hit_machine(self, fault: Fault) -> None:
        machine = self.database if fault.target == "database" else self.broker
        assert machine is not None
        if fault.kind == "restart":
            machine.restart()
        elif fault.kind in {kind for kind, _ in BROKER_TROUBLES.get(self.mode, ())}:
            with trouble(fault.kind, machine, QUEUE):
                time.sleep(fault.lasts)
        elif fault.kind == "wipe":
            with suppress(Exception):  # a broker that is just being restarted has nothing to lose
                wipe(machine, QUEUE)
        else:
            machine.pause()
            time.sleep(fault.lasts)
            machine.resume()

    def _until_started_again(self, worker: Process) -> None:
        starts, deadline = worker.starts, time.monotonic() + 10
        while worker.starts == starts and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.5)  # a rolling restart goes on when the successor serves

    def _start(self) -> None:
        for machine in filter(None, (self.database, self.broker)):
            self._cleanup.callback(machine.end)
            machine.start()
        for link in links(self.mode):
            machine = self.database if link.endswith("database") else self.broker
            assert machine is not None
            self.proxies[link] = proxy = Proxy(machine.port)
            self._cleanup.callback(proxy.close)
        self._file = f"sqlite:///{self.folder / 'events.db'}"
        self._run("migrate", "-m", "events", "migrate")
        workers = [self._worker(number) for number in (1, 2)]
        if not self.control:
            self._subscribe(workers[0])  # before anything is published: later subscribers get what comes later
        self.processes += [self._producer(number) for number in (1, 2)] + workers
        if self.broker and not self.control:
            relay = ["-m", "rigs.chaos.relay"]
            self.processes.append(Process("relay", 1, relay, self._environment("relay"), self.folder))
        if not self.control:
            operator = ["-m", "rigs.chaos.operations", str(self.folder / "operator.txt"), str(self._seed)]
            self.processes.append(Process("operator", 1, operator, self._environment("relay"), self.folder))
        supervisor = Supervisor(self.processes, self._noticed)
        self.vitals = Vitals(self.processes)
        for process in self.processes:
            self._cleanup.callback(process.end)
        self._cleanup.callback(self.vitals.stop)
        self._cleanup.callback(supervisor.stop)

    def _subscribe(self, worker: Process) -> None:
        """Wait until the newer code has told the ledger of its handlers, and the older too by the same worker."""
        worker.look_after()
        engine, deadline = self.engine, time.monotonic() + 60
        with engine.connect() as connection:
            while not connection.scalar(text("SELECT count(*) FROM event_subscriptions WHERE handler = 'audits'")):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{worker.name} did not start:\n{worker.log.read_text()[-2000:]}")
                connection.rollback()
                time.sleep(0.1)
        engine.dispose()

    def ask_for_signs_of_life(self) -> None:
        self._run("signs", "-m", "rigs.chaos.signs")

    def _run(self, name: str, *arguments: str) -> None:
        process = Process(name, 1, list(arguments), self._environment("relay"), self.folder)
        process.look_after()
        process.give_up()
        deadline = time.monotonic() + 60
        while not process.codes and time.monotonic() < deadline:
            process.look_after()
            time.sleep(0.05)
        if process.codes != [0]:
            process.end()
            raise RuntimeError(f"{name} failed:\n{process.log.read_text()[-2000:]}")

    def _producer(self, number: int) -> Process:
        committed = self.folder / f"producer-{number}.txt"
        arguments = ["-m", "rigs.chaos.producer", str(committed), str(RATE), str(self._seed)]
        return Process("producer", number, arguments, self._environment("producer"), self.folder)

    def _worker(self, number: int) -> Process:
        app = "rigs.chaos.control" if self.control else "events"
        arguments = ["-m", "celery", "-A", app, "worker", "-l", "INFO", "-n", f"w{number}@chaos",
                     "--without-gossip", "--without-mingle"]  # fmt: skip
        if self.control:
            return Process("worker", number, [*arguments, "-c", "2"], self._environment("worker"), self.folder)
        # Each has a queue of its own besides, a pool of its own kind, and a version of the code.
        arguments += ["-Q", f"{QUEUE},sign-{number}", *(("-c", "2") if number == 1 else ("-P", "threads", "-c", "4"))]
        environment = self._environment("worker") | {"CHAOS_VERSION": "2" if number == 1 else "1"}
        return Process("worker", number, arguments, environment, self.folder)

    def _environment(self, role: str) -> dict[str, str]:
        database = self.database.url_at(self.proxies[f"{role}-database"].port) if f"{role}-database" in self.proxies \
            else (self.database.url if self.database else self._file)  # fmt: skip
        broker = ""
        if self.broker:
            link = f"{role}-broker"
            broker = self.broker.url_at(self.proxies[link].port if link in self.proxies else self.broker.port)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
            "EVENTS_DATABASE_URL": database,
            "EVENTS_BROKER_URL": broker,
            "EVENTS_HANDLERS": "rigs.chaos.application",
            "EVENTS_QUEUE": QUEUE,
            "EVENTS_LEASE": "5s",
            "EVENTS_STALE_AFTER": "5s",
            "EVENTS_BROKER_TIMEOUT": "2s",
            "EVENTS_SHUTDOWN_TIMEOUT": f"{SHUTDOWN:g}s",
            "EVENTS_WATCHDOG": "40s",
            "CHAOS_STARTS": str(self.folder / "starts"),
            "CHAOS_DUPLICATE": "1",
            "CHAOS_CONTROL": "1" if self.control else "0",
        }
        if self.mode.startswith("rabbitmq"):
            environment["EVENTS_RABBITMQ_QUEUE_TYPE"] = self.mode.partition("-")[2]
        return environment

    def _noticed(self, process: Process) -> None:
        self._say(f"{process.name} ended with {process.codes[-1]}")


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
