"""Who is compared: pinned versions, the settings that their own documentation recommends, and what each promises."""

from dataclasses import dataclass

_PSYCOPG = "psycopg[binary,pool]==3.3.9"
_DRAMATIQ = ("dramatiq[redis,rabbitmq]==2.2.1", _PSYCOPG)

PLAIN_CELERY = (
    "plain Celery, acks late: at least once, effects may repeat; a message sent beside the commit may be lost, or tell "
    "of what was rolled back"
)
OURS = "each effect exactly once: event and business rows commit together, and so do the effect and its outcome"


@dataclass(frozen=True)
class Rival:
    """A library that does the same work.

    Args:
        broker: redis, rabbitmq, or nothing: then it keeps its jobs in Postgres, too.
        requirements: for pip.
        module: of this package; fills its queue if it is told to `prefill` so many events.
        processes: the arguments of its Python, for each process that is started. `{module}` is the module's full name.
        settings: in words.
        guarantee: what becomes of a task if its worker dies, in words.
        wanted: how many times as fast ours shall be: part of target 6; none is for information.
        python: the least version that it needs, if ours is older.
    """

    name: str
    broker: str
    requirements: tuple[str, ...]
    module: str
    processes: tuple[tuple[str, ...], ...]
    settings: str
    guarantee: str
    wanted: float | None = None
    python: tuple[int, int] = (3, 11)

    @property
    def path(self) -> str:
        """The full name of its module."""
        return f"rigs.bench.rivals.{self.module}"

    @property
    def commands(self) -> list[list[str]]:
        return [[part.format(module=self.path) for part in arguments] for arguments in self.processes]


# One process for each core and 8 threads in each are its defaults; its guide starts it so.
_DRAMATIQ_WORKER = (("-m", "dramatiq", "{module}", "--processes", "2", "--threads", "8", "--queues", "bench"),)

PGQUEUER = Rival(
    "pgqueuer", "", ("pgqueuer[asyncpg]==1.6.0",), "pgqueuer_worker", (("-m", "{module}", "work"),),
    settings="asyncpg, uvloop, batches of 25, one process",
    guarantee="at least once: a dead worker's jobs run again; the effect and the outcome commit separately",
    wanted=1.2,
)  # fmt: skip
DBOS = Rival(
    "DBOS", "", ("dbos==3.4.0", _PSYCOPG), "dbos_worker", (("-m", "{module}", "work"),) * 2,
    settings="2 processes with 50 workflows each, polls every 50 ms, a transaction of a datasource, READ COMMITTED",
    guarantee="each effect exactly once: the step's outcome commits with it, the workflow's own after it; a dead "
    "process's workflows wait for a process of the same executor_id",
    wanted=5,
)  # fmt: skip
OBAN = Rival(
    "Oban", "", ("oban==0.7.0", "uvloop==0.23.0", _PSYCOPG), "oban_worker", (("-m", "{module}", "work"),) * 2,
    settings="2 processes with 50 asynchronous jobs each, uvloop, a newer Python than ours",
    guarantee="at least once: a dead worker's jobs run again; the effect and the outcome commit separately",
    wanted=3, python=(3, 12),
)  # fmt: skip
DRAMATIQ_REDIS = Rival(
    "dramatiq", "redis", _DRAMATIQ, "dramatiq_worker", _DRAMATIQ_WORKER,
    settings="2 processes with 8 threads each, as by default",
    guarantee="at least once: effects may repeat; no outbox, so a send beside the commit may be lost",
    wanted=1,
)  # fmt: skip
DRAMATIQ_RABBITMQ = Rival(
    "dramatiq", "rabbitmq", _DRAMATIQ, "dramatiq_worker", _DRAMATIQ_WORKER,
    settings="2 processes with 8 threads each, as by default; a classic queue, confirms",
    guarantee=DRAMATIQ_REDIS.guarantee,
)  # fmt: skip
PROCRASTINATE = Rival(
    "procrastinate", "", ("procrastinate==3.10.0", _PSYCOPG), "procrastinate_worker",
    (("-m", "procrastinate", "--app={module}.app", "worker", "--concurrency=30"),) * 2,
    settings="2 processes with 30 asynchronous jobs each, and as many connections",
    guarantee="the effect and the outcome commit separately; a dead worker's jobs stay unless a task of your own "
    "retries them, and then effects may repeat",
    wanted=3,
)  # fmt: skip
FASTSTREAM = Rival(
    "FastStream", "rabbitmq", ("faststream[rabbit,cli]==0.7.8", "uvloop==0.23.0", _PSYCOPG), "faststream_worker",
    (("-m", "faststream", "run", "{module}:app", "--workers", "2", "--log-level", "warning"),),
    settings="2 processes, uvloop, acks after success, a durable classic queue, a prefetch count of 100",
    guarantee="at least once: effects may repeat; no outbox, no limit of tries, no dead letters of its own",
)  # fmt: skip

OTHERS = (DBOS, OBAN, PROCRASTINATE, DRAMATIQ_REDIS, DRAMATIQ_RABBITMQ, FASTSTREAM)  # than pgqueuer
