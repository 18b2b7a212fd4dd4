"""What of prometheus_client we lean on beyond its documentation."""

import prometheus_client.exposition
from prometheus_client import CollectorRegistry

from support.seam_checks import Library

PROMETHEUS = Library("prometheus_client")


def test_the_form_of_metrics_is_chosen_by_what_is_asked_for() -> None:
    leans = "/metrics of a worker and of a relay"
    PROMETHEUS.takes(prometheus_client.exposition, "choose_encoder", ["accept_header"], leans)
    for accept in ("", "application/openmetrics-text; version=1.0.0"):
        encode, content_type = prometheus_client.exposition.choose_encoder(accept)
        PROMETHEUS.keeps(content_type.startswith(accept.partition(";")[0]), "who asks for OpenMetrics gets it", leans)
        assert isinstance(encode(CollectorRegistry()), bytes)
