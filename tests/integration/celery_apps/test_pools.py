"""gevent and eventlet can't run handlers: a worker on them says so in one line, or runs plain tasks alone."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.market import Market
from support.waiting import eventually

POOLS = ["gevent", "eventlet"]


@pytest.mark.parametrize("app", ["market", "events"])
@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_that_would_run_handlers_on_it_ends_with_one_line(pool: str, app: str, tmp_path: Path) -> None:
    pytest.importorskip(pool)
    with Market("redis", tmp_path).in_use() as market:
        ended = market.run("celery", "-A", app, "worker", "-P", pool, "-c", "2")
        assert ended.returncode == 1
        (line,) = [line for line in ended.stderr.splitlines() if line.startswith("events: ")]
        said = f"events: pool {pool} can't run handlers: start this worker with -P prefork, threads or solo"
        assert line.startswith(said)
        assert ("-Q and the queues of plain tasks alone" in line) is (app == "market")


@pytest.mark.parametrize("pool", POOLS)
def test_plain_tasks_alone_run_on_it(pool: str, tmp_path: Path) -> None:
    pytest.importorskip(pool)
    with Market("redis", tmp_path).in_use() as market, (tmp_path / "log").open("w") as log:
        # Given a worker of the application's queue alone; not forked, since these replace what was imported
        command = market.celery("worker", "-P", pool, "-c", "5", "-l", "INFO", "-Q", market.queue, "-n", "g@test")
        worker = subprocess.Popen(
            [sys.executable, "-m", *command], env=market.environment, cwd=tmp_path, stdout=log, stderr=log
        )
        try:
            # When plain tasks are sent, Then it runs them
            assert market.ask("print([add.delay(i, i).get(timeout=60) for i in range(5)][-1])") == ["8"]
            said = re.compile("this worker reads .*, and no queue of handlers .*, so it runs none")
            eventually(lambda: said.search((tmp_path / "log").read_text()), "it says that it runs no handler")
        finally:
            worker.terminate()
            worker.wait(60)
