"""Plain Celery tasks beside handlers: they go where the application's own app sends them, or are refused at once."""

import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import kombu
import pytest
from tasks_of_its_own import OrderTaken

from events import publish
from support.servers import server_url
from support.size import alike
from support.system import BROKERS, System
from support.waiting import eventually

HANDLERS = 2
SENT = {"delay": 2, "apply_async": 1, "signature": 1, "group": 2, "chunks": 2}  # runs of the task; the async one, too
WEB = "import events.celery\nfrom tasks_of_its_own import mail\nmail.delay('web')"


def told(system: System, program: str) -> "subprocess.CompletedProcess[str]":
    """What a web process of the application says."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=system.environment, cwd=system.folder, capture_output=True, text=True)


def noted(system: System, *lines: str) -> None:
    """Wait until these lines, and no others, were written by plain tasks."""
    path = system.folder / "starts"

    def look() -> bool:
        return path.exists() and sorted(path.read_text().splitlines()) == sorted(lines)

    try:
        eventually(look, f"{lines} are there")
    except AssertionError as error:
        error.add_note(path.read_text() if path.exists() else "nothing")
        error.add_note("\n".join(process.log.read_text()[-3000:] for process in system.processes))
        raise


@pytest.mark.parametrize(
    ("mode", "pool"),
    [
        ("sqlite", "prefork"),
        ("sqlite", "solo"),
        ("postgres", "threads"),
        alike("sqlite", "threads"),
        alike("postgres", "prefork"),
    ],
)
def test_without_a_broker_a_task_is_a_delivery(mode: str, pool: str, tmp_path: Path) -> None:
    with System(mode, tmp_path, handlers="tasks_of_its_own").in_use() as system:
        # Given a worker without a broker, and no Celery app of the application's own
        worker = system.start_worker(pool)
        # When handlers send `@shared_task`s in every way, as does a web process
        publish([OrderTaken(how=how) for how in SENT])
        sent = told(system, WEB)
        assert sent.returncode == 0, sent.stderr
        # Then each is a row in the ledger, and the worker runs it
        assert system.settled(total := HANDLERS * len(SENT) + sum(SENT.values()) + 1) == {"succeeded": total}
        noted(system, "mailed async ann", "mailed web", *["mailed ann"] * 5, *["mailed bob"] * 2)
        assert "No hostname was supplied" not in worker.log.read_text()
        assert worker.stop() == 0


def test_a_task_may_say_that_it_is_transactional_too(tmp_path: Path) -> None:
    (tmp_path / "says_so.py").write_text(
        "from celery import shared_task\nfrom events import TransactionalTask\nfrom tasks_of_its_own import noted\n"
        "@shared_task(base=TransactionalTask)\ndef tell(what):\n    noted(what)\n"
    )
    with System("sqlite", tmp_path, handlers="says_so").in_use() as system:
        system.environment["PYTHONPATH"] += f":{tmp_path}"
        system.start_worker()
        sent = told(system, "import events.celery\nfrom says_so import tell\ntell.delay('so')")
        assert sent.returncode == 0, sent.stderr
        noted(system, "so")


def test_a_row_of_before_is_sent_once_there_is_a_broker(tmp_path: Path) -> None:
    with System("redis", tmp_path, handlers="tasks_of_its_own").in_use() as system:
        # Given a task that was sent before there was one
        broker = system.environment["EVENTS_BROKER_URL"]
        system.environment["EVENTS_BROKER_URL"] = ""
        assert told(system, WEB).returncode == 0
        # When workers have one, Then they run it
        system.environment["EVENTS_BROKER_URL"] = broker
        system.start_worker()
        noted(system, "mailed web")


@pytest.mark.parametrize("mode", ["sqlite", "redis"])
def test_a_handler_that_fails_has_sent_nothing(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path, handlers="tasks_of_its_own").in_use() as system:
        system.start_worker()
        publish([OrderTaken(how="delay and fail"), OrderTaken(how="signature")])
        assert system.settled(2 * HANDLERS + 1) == {"succeeded": 2 * HANDLERS, "dead": 1}
        noted(system, "mailed ann")


@pytest.mark.parametrize(("mode", "pool"), [("redis", "threads"), ("rabbitmq", "prefork"), alike("redis", "prefork")])
def test_shared_tasks_run_beside_handlers(mode: str, pool: str, tmp_path: Path) -> None:
    with System(mode, tmp_path, handlers="tasks_of_its_own").in_use() as system:
        # Given handlers that send `@shared_task`s, and no Celery app of the application's own
        worker = system.start_worker(pool)
        publish([OrderTaken(how=how) for how in SENT if how != "apply_async"])
        assert told(system, WEB).returncode == 0
        # When they do, as does a web process, Then the same worker runs both
        noted(system, "mailed ann", "mailed async ann", "mailed ann", *["mailed ann", "mailed bob"] * 2, "mailed web")
        assert {row.state for row in system.deliveries()} == {"succeeded"}
        assert not sum(system.pipeline.parked.counts().values())
        assert worker.stop() == 0


def test_the_queues_of_both_can_be_chosen(tmp_path: Path) -> None:
    with System("redis", tmp_path, handlers="tasks_of_its_own").in_use() as system:
        queue = system.environment["EVENTS_QUEUE"]
        # Given a worker of handlers alone
        first = system.start(["celery", "-A", "events", "worker", "-c", "1", "-l", "INFO", "-Q", queue, "-n", "h@t"])
        first.wait_for("ready.")
        publish(OrderTaken(how="signature"))
        assert system.settled(HANDLERS + 1) == {"succeeded": HANDLERS + 1}  # and what sends the task
        # When one of plain tasks alone begins, Then it runs what was sent
        system.start(["celery", "-A", "events", "worker", "-c", "1", "-Q", f"{queue}.tasks", "-n", "p@t"])
        noted(system, "mailed ann")


def test_beat_results_and_canvas_are_settings_of_celeryconfig(tmp_path: Path) -> None:
    with System("redis", tmp_path, handlers="tasks_of_its_own").in_use() as system:
        # Given an application's celeryconfig.py
        (tmp_path / "celeryconfig.py").write_text(
            f"result_backend = {server_url('REDIS')!r}\n"
            "beat_schedule = {'mail': {'task': 'shop.mail', 'schedule': 1.0, 'args': ('beat',)}}\n"
            f"beat_schedule_filename = {str(tmp_path / 'beat')!r}\n"
        )
        system.environment["PYTHONPATH"] += f":{tmp_path}"
        # When a worker with beat runs
        system.start(["celery", "-A", "events", "worker", "-B", "-c", "2", "-l", "INFO", "-n", "b@t"])
        # Then results come back, of chains as well, and beat sends
        program = (
            "import events.celery\nfrom celery import chain, group\nfrom tasks_of_its_own import mail\n"
            "print(chain(mail.s('one'), mail.s()).apply_async().get(timeout=60))\n"
            "print(group(mail.s('a'), mail.s('b')).apply_async().get(timeout=60))"
        )
        asked = told(system, program)
        assert asked.stdout.splitlines() == ["one", "['a', 'b']"], asked.stderr
        notes = tmp_path / "starts"
        eventually(lambda: notes.read_text().count("mailed beat") >= 2, "beat has sent")


LATE = """
from celery import shared_task
from pathlib import Path
import os

@shared_task(name="late.task")
def late():
    Path(os.environ["SHOP_STARTS"]).write_text("late\\n")
"""
SENDS_LATE = """
from events import DomainEvent, Retry, handles

class SentLate(DomainEvent): ...

@handles(SentLate, retry=Retry(max_attempts=1))
def send_late(event: SentLate) -> None:
    from late_tasks import late

    late.delay()
"""


@pytest.mark.parametrize("others", ["with other tasks", "alone"])
def test_a_task_that_no_worker_would_know_is_refused(others: str, tmp_path: Path) -> None:
    (tmp_path / "late_tasks.py").write_text(LATE)
    (tmp_path / "sends_late.py").write_text(SENDS_LATE)
    handlers = "sends_late,tasks_of_its_own" if others == "with other tasks" else "sends_late"
    with System("redis", tmp_path, handlers=handlers).in_use() as system:
        system.environment["PYTHONPATH"] += f":{tmp_path}"
        # Given a handler that imports a task when it runs, after the worker has begun
        system.start_worker()
        told(system, "import events, sends_late\nevents.publish(sends_late.SentLate())")
        # When it sends the task, Then it is told what to do, since no worker would know it
        assert system.settled(1) == {"dead": 1}
        (row,) = system.deliveries()
        assert row.error.startswith("task 'late.task' is not sent: it is no task of a module that EVENTS_HANDLERS")
        assert "\n" not in row.error


def test_modules_of_celeryconfig_are_known(tmp_path: Path) -> None:
    (tmp_path / "late_tasks.py").write_text(LATE)
    (tmp_path / "sends_late.py").write_text(SENDS_LATE)
    (tmp_path / "celeryconfig.py").write_text("imports = ('late_tasks',)\n")
    with System("redis", tmp_path, handlers="sends_late").in_use() as system:
        system.environment["PYTHONPATH"] += f":{tmp_path}"
        system.start_worker()
        told(system, "import events, sends_late\nevents.publish(sends_late.SentLate())")
        noted(system, "late")
        # And one that can't be imported is named
        (tmp_path / "celeryconfig.py").write_text("imports = ('not_there',)\n")
        ended = system.start(["celery", "-A", "events", "worker", "-n", "n@t"])
        assert ended.exit_code() == 1
        said = "events: celeryconfig.py: 'not_there' of imports or include can't be imported: ModuleNotFoundError"
        assert said in ended.log.read_text()


def test_the_log_is_json_if_it_should_be(tmp_path: Path) -> None:
    with System("redis", tmp_path, handlers="tasks_of_its_own", log_format="json").in_use() as system:
        worker = system.start_worker()
        publish(OrderTaken(how="delay"))
        noted(system, "mailed ann", "mailed async ann")
        assert worker.stop() == 0
        # Every line of the log is an object, those of plain tasks as well
        lines = [json.loads(line) for line in worker.log.read_text().splitlines()]
        assert any("shop.mail" in line["message"] for line in lines)
        assert any(line.get("handler") == "on_order" for line in lines)


def test_to_call_a_shared_task_is_to_call_a_function(tmp_path: Path) -> None:
    with System("sqlite", tmp_path, handlers="tasks_of_its_own").in_use() as system:
        worker = system.start_worker()
        publish(OrderTaken(how="call"))
        assert system.settled(HANDLERS) == {"succeeded": HANDLERS}
        assert (tmp_path / "starts").read_text() == "mailed ann\n"
        # And it is none of the worker's own
        assert "shop.mail" not in worker.log.read_text()


@pytest.mark.parametrize(
    ("mode", "pool"),
    [
        ("sqlite", "prefork"),
        ("redis", "threads"),
        ("rabbitmq", "prefork"),
        alike("sqlite", "threads"),
        alike("redis", "prefork"),
        alike("rabbitmq", "threads"),
    ],
)
def test_tasks_of_the_applications_own_app_run_beside_handlers(mode: str, pool: str, tmp_path: Path) -> None:
    theirs = server_url(BROKERS.get(mode, "REDIS"))
    with System(mode, tmp_path, handlers="tasks_of_its_own").in_use() as system:
        # Given an application with an app and a queue of its own
        queue = f"shop-{uuid4().hex[:12]}"
        system.environment |= {"SHOP_BROKER_URL": theirs, "SHOP_QUEUE": queue}
        worker = system.start_worker(pool)
        # When handlers send tasks, shared ones and the app's own
        publish([OrderTaken(how="delay"), OrderTaken(how="pack")])
        assert system.settled(2 * HANDLERS) == {"succeeded": 2 * HANDLERS}
        # Then they went by that queue, and the same worker ran them
        noted(system, "mailed ann", "mailed async ann", "packed a box")
        assert queue in worker.log.read_text()
        assert not sum(system.pipeline.parked.counts().values())
        assert worker.stop() == 0
        with kombu.Connection(theirs) as connection, connection.channel() as channel:
            kombu.Queue(queue).bind(channel).delete()


@pytest.mark.parametrize(
    ("broker", "why"),
    [
        ("", "it has no broker_url"),
        ("filesystem://", "Celery has no event loop with its broker filesystem://, and handlers need one"),
    ],
)
def test_an_app_whose_tasks_can_not_be_run_here_is_named(broker: str, why: str, tmp_path: Path) -> None:
    with System("sqlite", tmp_path, handlers="tasks_of_its_own").in_use() as system:
        # Given an application's own app with a broker on which handlers can't run
        system.environment |= {"SHOP_BROKER_URL": broker or "none", "SHOP_QUEUE": "unused"}
        # When a worker starts, Then handlers run, and one line says what doesn't
        worker = system.start_worker()
        worker.wait_for(
            f"plain tasks of the Celery app 'shop' don't run in this worker, since {why}: shop.mail, shop.pack"
        )
        publish(OrderTaken(how="call"))
        assert system.settled(HANDLERS) == {"succeeded": HANDLERS}


def test_an_app_that_only_sends_to_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "sending.py").write_text(
        "import os\nfrom celery import Celery\nfrom events import DomainEvent, handles\n"
        "app = Celery('client', broker=os.environ['SHOP_BROKER_URL'])\napp.conf.task_default_queue = 'of-others'\n"
        "class Sent(DomainEvent): ...\n"
        "@handles(Sent)\ndef send(event: Sent) -> None:\n    app.send_task('others.task', queue='of-others-2')\n"
    )
    with System("redis", tmp_path, handlers="sending").in_use() as system:
        system.environment |= {"SHOP_BROKER_URL": server_url("REDIS")}
        system.environment["PYTHONPATH"] += f":{tmp_path}"
        worker = system.start_worker()
        assert "of-others" not in worker.log.read_text()


@pytest.mark.parametrize("mode", sorted(BROKERS))
def test_a_task_in_our_queue_is_parked_with_what_to_do(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path).in_use() as system:
        # Given somebody whose Celery app has our queue for its own
        worker = system.start_worker()
        queue = system.environment["EVENTS_QUEUE"]
        body = [["ann"], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
        with kombu.Connection(server_url(BROKERS[mode])) as connection, connection.Producer() as producer:
            # When it sends a task
            headers = {"lang": "py", "task": "shop.mail", "id": str(uuid4()), "root_id": None, "parent_id": None}
            producer.publish(body, routing_key=queue, headers=headers, serializer="json", correlation_id=headers["id"])
        # Then it is parked, and whoever looks is told what to do
        parked = system.pipeline.parked
        (message,) = eventually(lambda: parked.find(reason="not a wake-up"), "it is parked")
        assert "'shop.mail'" in message.detail
        assert "task_default_queue" in message.detail
        worker.wait_for("task_default_queue")
