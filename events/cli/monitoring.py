"""`events monitoring`: the files for Grafana and Prometheus that go with this version's metrics."""

from importlib import resources

import typer

from events.cli.help_pages import App

app = App(help="A dashboard and alert rules for the metrics that EVENTS_HTTP_PORT serves.")


@app.command()
def dashboard() -> None:
    """Print the Grafana dashboard as JSON, for import into Grafana.

    Example: events monitoring dashboard > dashboard.json
    """
    _print("grafana.json")


@app.command()
def alerts() -> None:
    """Print the alert rules for Prometheus as YAML.

    Example: events monitoring alerts > /etc/prometheus/rules/events.yml
    """
    _print("alerts.yml")


def _print(name: str) -> None:
    typer.echo(resources.files("events.monitoring").joinpath(name).read_text("utf-8"), nl=False)
