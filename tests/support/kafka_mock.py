"""librdkafka's own cluster of Kafka, in a process and its memory. Clients anywhere on this machine can connect to it.

    scripts/kafka TOPIC...

What it can't do, so that no test or figure here says anything about it: keep data through the end of its process, or
more than 5 MB of a partition; replicate (there is one broker), TLS and SASL, topics' settings (retention, compaction),
transactions, the new consumer protocol.
"""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import confluent_kafka


def _library() -> Any:
    """The one that confluent-kafka came with, which has more functions than Python is shown."""
    found = sorted(Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs").glob("librdkafka*"))
    if not found:
        raise RuntimeError("this confluent-kafka brings no librdkafka of its own; install the wheel from PyPI")
    library = ctypes.CDLL(str(found[0]))
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for name, result, *arguments in (
        ("rd_kafka_conf_new", pointer),
        ("rd_kafka_conf_set", ctypes.c_int, pointer, text, text, text, ctypes.c_size_t),
        ("rd_kafka_new", pointer, ctypes.c_int, pointer, text, ctypes.c_size_t),
        ("rd_kafka_destroy", None, pointer),
        ("rd_kafka_mock_cluster_new", pointer, pointer, ctypes.c_int),
        ("rd_kafka_mock_cluster_destroy", None, pointer),
        ("rd_kafka_mock_cluster_bootstraps", text, pointer),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, pointer, ctypes.c_int32),
        ("rd_kafka_mock_topic_create", ctypes.c_int, pointer, text, ctypes.c_int, ctypes.c_int),
        ("rd_kafka_mock_topic_set_error", None, pointer, text, ctypes.c_int),
        ("rd_kafka_producev", ctypes.c_int, pointer),
        ("rd_kafka_flush", ctypes.c_int, pointer, ctypes.c_int),
        ("rd_kafka_mock_broker_set_down", ctypes.c_int, pointer, ctypes.c_int32),
        ("rd_kafka_mock_broker_set_up", ctypes.c_int, pointer, ctypes.c_int32),
    ):  # fmt: skip
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Mock:
    """A cluster of one broker, which starts at once and may go away and come back."""

    name = "kafka"
    KEEPS = 5_000  # events, about: a partition holds 5 MB, and drops the oldest then

    def __init__(self) -> None:
        self._library = _library()
        why = ctypes.create_string_buffer(512)
        configuration = self._library.rd_kafka_conf_new()
        self._library.rd_kafka_conf_set(configuration, b"log_level", b"0", why, 512)
        self._client = self._library.rd_kafka_new(0, configuration, why, 512)
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._client, 1)
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.url = f"kafka://{self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()}"

    def __enter__(self) -> "Mock":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def make(self, *topics: str) -> None:
        """Consumers of a topic that isn't there yet would look for it only now and then."""
        for topic in topics:
            self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), 4, 1)

    def refuse(self, topic: str, error: int) -> None:
        """Whoever asks for this topic gets an error, one of confluent_kafka.KafkaError's; 0 ends that."""
        self._library.rd_kafka_mock_topic_set_error(self._cluster, topic.encode(), error)

    def put(self, topic: str, body: bytes, header: bytes, value: bytes) -> None:
        """A message as confluent_kafka would not send it: with any bytes for the name of a header."""
        why, size, number = ctypes.create_string_buffer(512), ctypes.c_size_t, ctypes.c_int
        settings = self._library.rd_kafka_conf_new()
        hosts = self.url.partition("://")[2].encode()
        self._library.rd_kafka_conf_set(settings, b"bootstrap.servers", hosts, why, 512)
        producer = ctypes.c_void_p(self._library.rd_kafka_new(0, settings, why, 512))
        # Tag and value by turns: the topic, the body, that it is copied, a header, and the end.
        self._library.rd_kafka_producev(
            producer, number(1), topic.encode(), number(4), body, size(len(body)), number(7), number(2),
            number(9), header, value, size(len(value)), number(0),
        )  # fmt: skip
        self._library.rd_kafka_flush(producer, 10_000)
        self._library.rd_kafka_destroy(producer)

    def down(self) -> None:
        """Connections end, and new ones are refused."""
        self._library.rd_kafka_mock_broker_set_down(self._cluster, 1)

    def up(self) -> None:
        self._library.rd_kafka_mock_broker_set_up(self._cluster, 1)

    def restart(self) -> None:
        """As seen from outside; it forgets nothing."""
        self.down()
        self.up()

    def end(self) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)


class MockProcess:
    """A cluster in a process of its own, which may be paused: then it is silent, and nothing is refused."""

    def __init__(self, *topics: str) -> None:
        command = [sys.executable, "-P", __file__, *topics]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.url = self.process.stdout.readline().strip()

    def pause(self) -> None:
        """It has stopped when this returns: a signal alone takes its time."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> "MockProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


if __name__ == "__main__":
    with Mock() as mock:
        mock.make(*sys.argv[1:])
        print(mock.url, flush=True)
        sys.stdin.read()
