"""docs/metrics.md has the metrics of the code."""

from events.monitoring.prometheus import METRICS
from support.documents import DOCS, between


def metrics_table() -> str:
    rows = ["| metric | kind | labels | from | meaning |", "|---|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.source} | {metric.help} |")
    return "\n".join(rows)


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    assert between(DOCS / "metrics.md", "metrics") == metrics_table()
