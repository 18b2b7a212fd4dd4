"""fly.toml, Dockerfile and .dockerignore agree with the code, and with what Fly accepts."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from flower.command import is_flower_option

from events.monitoring.health import Health
from events.monitoring.prometheus import EventsCollector
from events.monitoring.serving import make_server
from events.settings.settings import HARD_LIMIT_GRACE, Settings

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
FLY = tomllib.loads((ROOT / "fly.toml").read_text())

# Fly's reference, less what this app has no use for. Only `flyctl config validate --strict`, which needs a login, sees
# a misspelt key.
TOP_LEVEL = {"app", "primary_region", "kill_signal", "kill_timeout", "swap_size_mb"}
FREE_NAMES = {"env", "processes"}
SECTIONS = {
    "deploy": {
        "release_command",
        "release_command_timeout",
        "release_command_vm",
        "strategy",
        "max_unavailable",
        "wait_timeout",
    },
    "metrics": {"port", "path", "processes"},
    "restart": {"policy", "retries", "processes"},
    "vm": {"size", "memory", "cpus", "cpu_kind", "processes"},
}
CHECK = {"type", "port", "path", "method", "interval", "timeout", "grace_period", "processes"}  # each of [checks]
LONGEST_KILL_TIMEOUT = timedelta(seconds=300)
SHELL_SYNTAX = set("$&|;<>`*?~\n")
SECRET_NAME = re.compile(r"URL|DSN|PASS|SECRET|TOKEN|KEY|CREDENTIAL|COOKIE|AUTH", re.IGNORECASE)
SECRET_VALUE = re.compile(r"://|[A-Za-z0-9+/_=-]{32,}")


def dockerfile() -> list[list[tuple[str, str]]]:
    """The stages of the Dockerfile, each a list of (instruction, rest of the line)."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not re.match(r"\s*(#|$)", line)]
    stages: list[list[tuple[str, str]]] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        if name.upper() == "FROM":
            stages.append([])
        stages[-1].append((name.upper(), rest.strip()))
    return stages


def all_of(instruction: str, *stages: list[tuple[str, str]]) -> list[str]:
    return [rest for stage in stages or dockerfile() for name, rest in stage if name == instruction]


def copied_from_the_repository() -> list[str]:
    copies = [shlex.split(rest) for rest in all_of("COPY") if "--from" not in rest]
    return [source for words in copies for source in words[:-1] if not source.startswith("--")]


def dockerignored(path: str) -> bool:
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    regexes = [re.escape(p.strip("/")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*") for p in patterns]
    return any(re.fullmatch(rf"{regex}(/.*)?", path) for regex in regexes)


def docker_cmd() -> list[str]:
    return json.loads(all_of("CMD", dockerfile()[-1])[-1])


def seconds(value: int | str) -> timedelta:
    number, unit = re.fullmatch(r"(\d+)([smh]?)", str(value)).groups()
    return int(number) * {"": timedelta(seconds=1), "s": timedelta(seconds=1), "m": timedelta(minutes=1)}[unit]


def commands() -> dict[str, str]:
    return {**FLY["processes"], "release": FLY["deploy"]["release_command"]}


@pytest.fixture
def fly_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """What a process on Fly gets: [env] and a database, and nothing of the developer's own settings."""
    for name in [name for name in os.environ if name.startswith("EVENTS_")]:
        monkeypatch.delenv(name)
    environment = {**FLY["env"], "EVENTS_DATABASE_URL": f"sqlite:///{tmp_path}/events.db"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


def test_fly_toml_has_only_keys_that_fly_knows() -> None:
    # Given the sections and keys of Fly's reference
    unknown = FLY.keys() - TOP_LEVEL - FREE_NAMES - SECTIONS.keys() - {"checks"}
    # When every key of ours is compared
    for section, allowed in SECTIONS.items():
        tables = FLY.get(section, [])
        for table in [tables] if isinstance(tables, dict) else tables:
            unknown |= {f"{section}.{key}" for key in table.keys() - allowed}
    for name, check in FLY["checks"].items():
        unknown |= {f"checks.{name}.{key}" for key in check.keys() - CHECK}
    # Then none is left over
    assert not unknown


@pytest.mark.parametrize("section", ["restart", "vm"])
def test_every_process_group_has_exactly_one_table_of_each_kind(section: str) -> None:
    # Given the groups that the tables of this section name
    named = [group for table in FLY[section] for group in table["processes"]]
    # Then all of ours are there, once, and no other
    assert sorted(named) == sorted(FLY["processes"]) == ["flower", "relay", "worker"]


def test_every_process_starts_again_however_it_ended() -> None:
    # A warm shutdown exits with 0, which Fly's default policy would take for the end of the work
    assert {table["policy"] for table in FLY["restart"]} == {"always"}


def test_a_stopping_worker_has_time_to_finish_its_handler(fly_environment: dict[str, str]) -> None:
    # Given the longest that a handler may run, with the settings of [env]
    assert fly_environment
    longest = Settings().time_limit + HARD_LIMIT_GRACE
    # Then Fly asks first, waits longer than that, and not longer than it can
    assert FLY["kill_signal"] == "SIGTERM"
    assert Settings.model_fields["shutdown_timeout"].default < seconds(FLY["kill_timeout"])
    assert timedelta() < longest < seconds(FLY["kill_timeout"]) <= LONGEST_KILL_TIMEOUT


def test_a_deployment_waits_longer_than_a_worker_may_take_to_stop() -> None:
    assert FLY["deploy"]["strategy"] == "rolling"
    assert seconds(FLY["deploy"]["wait_timeout"]) > seconds(FLY["kill_timeout"])


def test_fly_asks_for_metrics_and_health_where_they_are_served() -> None:
    # Given what Fly asks, and the pages that a worker or relay serves
    health = Health({}, timedelta(seconds=1), {}, lambda: False)
    server = make_server(0, EventsCollector(), health)
    server.server_close()
    for table in [*FLY["metrics"], *FLY["checks"].values()]:
        # Then it asks for one of them, on their port, and of those who open it
        assert table["path"] in server.pages
        assert table["port"] == int(FLY["env"]["EVENTS_HTTP_PORT"])
        assert sorted(table["processes"]) == ["relay", "worker"]
    for check in FLY["checks"].values():
        assert check["type"] == "http"
        assert seconds(2) <= seconds(check["interval"])
        assert seconds(check["timeout"]) <= seconds(60)


def test_nothing_listens_on_the_internet() -> None:
    assert not FLY.keys() & {"services", "http_service"}


def test_the_schema_is_migrated_before_new_code_runs() -> None:
    assert shlex.split(FLY["deploy"]["release_command"]) == ["events", "migrate"]


@pytest.mark.parametrize("command", commands().values(), ids=commands())
def test_a_command_needs_no_shell(command: str) -> None:
    # Given that Fly splits a command like shlex and starts it as it is
    executable = shlex.split(command)[0]
    # Then it has nothing that only a shell understands, and is one of our console scripts
    assert not set(command) & SHELL_SYNTAX
    assert (BIN / executable).is_file()


@pytest.mark.parametrize(
    ("group", "usage"),
    [
        ("worker", "celery worker"),
        ("relay", "events relay"),
        ("flower", "celery flower"),
        ("release", "events migrate"),
        ("image", "celery worker"),
    ],
)
def test_a_command_is_understood_with_all_its_options(group: str, usage: str, fly_environment: dict[str, str]) -> None:
    # Given the command as Fly, or Docker, starts it
    executable, *arguments = docker_cmd() if group == "image" else shlex.split(commands()[group])
    # When it is asked for help, after its own options
    result = subprocess.run(
        [BIN / executable, *arguments, "--help"],
        cwd=ROOT,
        env={"PATH": os.defpath, **fly_environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # Then it knew them all, and the help is that of the command we meant
    assert result.returncode == 0, result.stderr
    assert f"Usage: {usage} " in " ".join(result.stdout.split())


def test_flower_knows_its_options() -> None:
    # Given the options after `flower`, which drops those that it doesn't know without a word
    words = shlex.split(FLY["processes"]["flower"])
    options = words[words.index("flower") + 1 :]
    # Then it knows ours
    assert [option for option in options if not is_flower_option(option)] == []


def test_env_has_only_settings_that_exist(fly_environment: dict[str, str]) -> None:
    # Given the names of all settings
    known = {f"EVENTS_{field.upper()}" for field in Settings.model_fields}
    # Then [env] has no other, and their values are valid
    assert {name for name in FLY["env"] if name.startswith("EVENTS_")} <= known
    assert all(isinstance(value, str) for value in fly_environment.values())
    Settings()


def test_workers_leave_the_relaying_to_the_relay_group(fly_environment: dict[str, str]) -> None:
    assert fly_environment
    assert ("relay" in FLY["processes"]) == (Settings().relay == "off")


def test_env_has_no_secret_and_no_name_that_fly_keeps_for_itself() -> None:
    for name, value in FLY["env"].items():
        assert not name.startswith("FLY_")
        assert not SECRET_NAME.search(name), f"{name} belongs in fly secrets"
        assert not SECRET_VALUE.search(value), f"the value of {name} belongs in fly secrets"


def test_the_image_is_built_in_one_stage_and_run_in_another() -> None:
    # Given two stages on the same Python: a virtual environment works with no other
    builder, final = dockerfile()
    (build_base, _, name), (base,) = all_of("FROM", builder)[0].split(), all_of("FROM", final)[0].split()
    assert build_base == base
    # Then the last one takes the environment from the first, to the same path, and finds its commands
    (copy,) = [shlex.split(rest) for rest in all_of("COPY", final) if "--from" in rest]
    origin, source, target = copy
    assert origin == f"--from={name}"
    assert source == target
    assert any(f"PATH={target}/bin:$PATH" in rest.split() for rest in all_of("ENV", final))


def test_the_image_does_not_run_as_root() -> None:
    user = all_of("USER", dockerfile()[-1])[-1].split(":")[0]
    assert user not in ("root", "0", "")


def test_the_image_starts_without_a_shell_and_stops_like_on_fly() -> None:
    # Given the last stage
    final = dockerfile()[-1]
    # Then its command is an array (docker_cmd parses it) of one of our console scripts
    assert (BIN / docker_cmd()[0]).is_file()
    # And nothing stands before the commands of fly.toml
    assert not all_of("ENTRYPOINT")
    # And it gets the signal that Fly sends
    assert all_of("STOPSIGNAL", final) == [FLY["kill_signal"]]


def test_the_image_has_the_versions_that_were_tested() -> None:
    # Given everything that is installed with pip
    installs = [part for run in all_of("RUN") for part in re.split(r"&&|;", run) if "pip install" in part]
    assert installs
    # Then it is constrained, and a copy: the sources are not in the last stage
    for install in installs:
        words = shlex.split(install)
        assert ("-c", "constraints.txt") in pairwise(words)
        assert not {"-e", "--editable"} & set(words)


def test_what_the_image_copies_exists_and_reaches_the_build() -> None:
    for source in copied_from_the_repository():
        # Given a file or directory, with the code in it
        path = ROOT / source
        assert path.exists()
        # Then .dockerignore keeps none of it out
        for file in [path, *path.rglob("*.py"), *path.rglob("py.typed")]:
            assert not dockerignored(file.relative_to(ROOT).as_posix())


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/bin/python",
        ".env",
        ".pytest_cache/README.md",
        "events.db",
        "events.db-wal",
        "events/__pycache__/event.cpython-311.pyc",
        "rigs/demo/main.py",
        "tests/unit/test_deployment.py",
    ],
)
def test_what_is_private_or_of_this_machine_stays_out_of_the_build(path: str) -> None:
    assert dockerignored(path)
