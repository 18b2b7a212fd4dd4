"""librdkafka's own cluster, in this process and its memory. Clients anywhere on this machine can connect to it.

What it can't do, so that no test here says anything about it: keep data through the end of its process, replicate
(there is one broker), TLS and SASL, topics' settings (retention, compaction), transactions, the new
consumer protocol.
"""

import ctypes
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest


def _library() -> Any:
    """The one that confluent-kafka came with, which has more functions than Python is shown."""
    found = sorted(Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs").glob("librdkafka*"))
    if not found:
        pytest.skip("this confluent-kafka brings no librdkafka of its own; set EVENTS_TEST_KAFKA_URL")
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
        ("rd_kafka_mock_broker_set_down", ctypes.c_int, pointer, ctypes.c_int32),
        ("rd_kafka_mock_broker_set_up", ctypes.c_int, pointer, ctypes.c_int32),
    ):  # fmt: skip
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Mock:
    """A cluster of one broker, which starts at once and may go away and come back."""

    name = "kafka"

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
