"""A broker that refuses us, and queues that aren't there: one line each, with the cure, and not a flood of them."""

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from events.errors import TransportError
from events.ledger.records import Wakeup
from events.settings.settings import Settings
from events.transport import open_transport
from support.operator import events
from support.private_servers import free_port
from support.servers import own_server, server_url
from support.system import Process, System
from support.waiting import eventually

NO_VHOST = "vhost nowhere not found; make it: rabbitmqctl add_vhost nowhere; rabbitmqctl set_permissions -p nowhere "
PASSWORD = "; check the user and the password in EVENTS_BROKER_URL"


@pytest.fixture(params=["no vhost", "wrong password on RabbitMQ", "wrong password on Redis"])
def refusing(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The URL of a broker that refuses, and what is said of it."""
    if request.param == "no vhost":
        yield server_url("AMQP").rstrip("/") + "/nowhere", NO_VHOST
    elif "RabbitMQ" in request.param:
        yield server_url("AMQP").replace("guest:guest@", "guest:wrong@"), PASSWORD
    else:
        with own_server("redis") as machine:
            with redis.Redis(port=machine.port) as client:
                client.config_set("requirepass", "right")
            yield f"redis://:wrong@127.0.0.1:{machine.port}/0", PASSWORD


def complaints(worker: Process) -> int:
    return worker.log.read_text().count("the broker")


def test_a_worker_says_what_to_do_and_less_than_a_line_a_second(refusing: tuple[str, str], tmp_path: Path) -> None:
    url, cure = refusing
    with System("sqlite", tmp_path, handlers="failing").in_use() as system:
        # Given a worker whose broker refuses it
        command = ["celery", "-A", "events", "worker", "-P", "threads", "-l", "INFO"]
        worker = system.start(command, broker_url=url)
        worker.wait_for(cure)
        # When it has tried again and again
        begun, before = time.monotonic(), len(worker.log.read_text().splitlines())
        had = complaints(worker)
        eventually(lambda: complaints(worker) >= had + 3, "it has said so again")
        # Then there was no more than a line a second, without a password
        lines = worker.log.read_text().splitlines()
        assert len(lines) - before <= time.monotonic() - begun + 2
        assert "wrong" not in worker.log.read_text()
        assert "Traceback" not in worker.log.read_text()


@pytest.mark.parametrize("begin", ["redis://:wrong@", "amqp://guest:wrong@"])
def test_a_broker_that_is_away_is_named_as_it_was_set(begin: str, tmp_path: Path) -> None:
    with System("sqlite", tmp_path, handlers="failing").in_use() as system:
        # Given a worker whose broker isn't there
        where = f"127.0.0.1:{free_port()}/"
        worker = system.start(["celery", "-A", "events", "worker", "-P", "threads"], broker_url=begin + where)
        # Then it names it by its URL, without the password
        worker.wait_for(f"can't reach the broker {begin.replace('wrong', '***')}{where}: ")
        assert "events.transport" not in worker.log.read_text()


def test_who_sends_and_doctor_say_so_too(refusing: tuple[str, str], tmp_path: Path) -> None:
    url, cure = refusing
    transport = open_transport(Settings(broker_url=url, broker_timeout="2s"))
    with pytest.raises(TransportError) as caught:
        transport.send([(Wakeup(uuid4(), "h", "q", 1),)])
    transport.close()
    assert cure.strip("; ") in str(caught.value)
    environment = {"EVENTS_DATABASE_URL": f"sqlite:///{tmp_path / 'events.db'}", "EVENTS_BROKER_URL": url}
    done = events("doctor", "--json", environment=environment | {"EVENTS_HANDLERS": "colorsys"})
    assert done.returncode == 1
    assert cure.rpartition("; ")[2].strip() in done.stdout


@pytest.mark.parametrize("option", ["-Q", "-X"])
def test_a_queue_that_no_handler_has_is_refused_with_those_that_there_are(option: str, tmp_path: Path) -> None:
    with System("sqlite", tmp_path, handlers="signalled", queue="usual").in_use() as system:
        worker = system.start(["celery", "-A", "events", "worker", "-P", "solo", option, "usual,other"])
        assert worker.exit_code() == 1
        (line,) = [line for line in worker.log.read_text().splitlines() if line.startswith("events: ")]
        assert line.startswith(f"events: {option} usual,other: no handler here has queue 'other'; ")
        assert "EVENTS_QUEUE and @handles(..., queue=...) name signalled-0, " in line
        assert "Traceback" not in worker.log.read_text()


ELSEWHERE = """
from events import DomainEvent, handles
class Mailed(DomainEvent): pass
@handles(Mailed, queue="mail")
def mails(event: Mailed) -> None: ...
"""


def test_a_worker_that_reads_none_of_its_handlers_queues_says_so(tmp_path: Path) -> None:
    (tmp_path / "of_mail.py").write_text(ELSEWHERE)
    with System("sqlite", tmp_path, handlers="of_mail", queue="usual").in_use() as system:
        worker = system.start(["celery", "-A", "events", "worker", "-P", "solo", "-Q", "usual"])
        worker.wait_for("this worker reads queue usual, and all its handlers have other queues: mail; start it")
        worker.wait_for("ready.")
