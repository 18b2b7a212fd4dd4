"""The example `flask-celery`: a Flask and Celery application of thirty tasks adopts events by five lines, and its tasks
never notice."""

import difflib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.chaos.machines import Machine
from support.flask_shop import AFTER, BEFORE, EXAMPLE, PATIENCE, TICKS, FlaskShop, kill
from support.pasting import blocks
from support.servers import own_server
from support.size import alike
from support.waiting import eventually

MOST = 5  # changed lines
# These leave no result of their own: three write rows, which `a_day_in` waits for, and the last becomes `render`.
WITHOUT_RESULT = {
    "shop.tasks.mail.remind",
    "shop.tasks.upkeep.heartbeat",
    "shop.tasks.orders.order_failed",
    "shop.tasks.reports.build_report",
}
STATES = ["refunded", "shipped", "failed: Declined in shop.tasks.orders.charge_card", "cancelled"]
MAILS = [
    ("a@x", "news"),
    ("ann", "on its way: 2 saw, 50 nail"),
    ("b@x", "news"),
    ("bob", "on its way: 1 glue"),
    ("c@x", "news"),
    ("clerk", "look at order 1"),
    ("clerk", "look at order 2"),
    ("clerk", "look at order 3"),
    ("clerk", "refund 1"),
]
ORDERS = 40

pytestmark = [pytest.mark.timeout(1200), pytest.mark.xdist_group("flask-celery")]


@pytest.fixture(scope="module")
def results() -> Iterator[Machine]:
    with own_server("redis") as machine:
        yield machine


@pytest.fixture(scope="module", params=["redis", alike("rabbitmq")])
def broker(request: pytest.FixtureRequest, results: Machine) -> Iterator[Machine]:
    if request.param == "redis":
        yield results
        return
    with own_server(request.param) as machine:
        yield machine


def changes() -> list[str]:
    """The lines of `diff -ru before after`, without what tells of whole files."""
    found: list[str] = []
    for old in sorted(file for file in BEFORE.rglob("*") if file.is_file() and "__pycache__" not in file.parts):
        name = old.relative_to(BEFORE)
        lines = [path.read_text().splitlines() for path in (old, AFTER / name)]
        found += difflib.unified_diff(*lines, f"before/{name}", f"after/{name}", lineterm="")
    return found


def test_five_lines_change_and_the_readme_shows_them() -> None:
    # Given the two states, When they are compared
    lines = changes()
    changed = [line for line in lines if line[0] in "+-" and not line.startswith(("+++ ", "--- "))]
    # Then so few lines were changed, and none was taken away
    assert len(changed) <= MOST
    assert all(line.startswith("+") for line in changed)
    # And the only file that is new is the one with the handlers
    files = [{file.relative_to(state) for file in state.rglob("*") if file.suffix in (".py", ".txt")}
             for state in (BEFORE, AFTER)]  # fmt: skip
    assert files[1] - files[0] == {Path("handlers.py")}
    assert not files[0] - files[1]
    # And the document shows all of that
    (shown,) = blocks(EXAMPLE / "README.md", "diff")
    kept = [line for line in lines if line[0] in "+-" and not line.startswith("--- ")]
    assert [line for line in shown.splitlines() if line[0] in "+-"] == kept
    (program,) = blocks(EXAMPLE / "README.md", "python")
    assert program == (AFTER / "handlers.py").read_text()


def a_day_in(shop: FlaskShop) -> None:
    """What customers and clerks do, until all that comes of it is done."""
    rows = [("saw", 30, 100), ("nail", 2, 1000), ("glue", 7, 9)]
    added = shop.post("/products", [dict(zip(("name", "price", "stock"), row, strict=True)) for row in rows])
    assert shop.ended(added["task"])["result"] == ["glue", "nail", "saw"]
    ann = shop.post("/orders", {"customer": "ann", "lines": {"saw": 2, "nail": 50}})
    assert shop.ended(ann["task"]) == {"state": "SUCCESS", "result": "2 saw, 50 nail"}
    bob = shop.post("/orders", {"customer": "bob", "lines": {"glue": 1}})
    assert shop.ended(bob["task"]) == {"state": "SUCCESS", "result": "1 glue"}
    shop.post("/orders", {"customer": "eve", "lines": {"saw": 1}, "card": "bad"})
    held = shop.post("/orders", {"customer": "tom", "lines": {"saw": 1}, "hold": True})
    assert shop.ended(held["task"])["result"] == "cancelled"
    assert shop.get("/orders/1/price") == {"price": 160}
    refund = shop.post("/orders/1/refund")
    assert shop.ended(refund["task"])["result"] == "refunded 1 at the attempt of number 2"
    assert shop.ended(shop.post("/newsletter", ["a@x", "b@x", "c@x", "nobody"])["task"])["result"] == 4
    assert shop.ended(shop.post("/reports")["task"])["result"] == "sold for 227, most of it nail"
    assert shop.ended(shop.post("/exports", {"name": "all"})["task"])["result"] == "all: cut short"
    audit, carts, ping = shop.post("/audits")["tasks"]
    assert shop.ended(audit)["result"] == ["glue"]
    assert shop.ended(carts)["result"] == "forgotten"
    assert shop.ended(ping)["result"] == ["web", "reports"]

    def done() -> bool:
        names = Counter(json.loads(one[0]) for one in shop.results().elements())
        return (
            [row[0] for row in shop.rows("SELECT state FROM orders ORDER BY id")] == STATES
            and sorted(shop.rows('SELECT "to", subject FROM mail')) == MAILS
            and {"shop.tasks.mail.bounce", "shop.tasks.stock.reorder", "shop.tasks.orders.release_stock"} <= set(names)
            and len(shop.rows("SELECT 1 FROM heartbeat")) >= 3
            and all(json.loads(one[3]) in ("SUCCESS", "FAILURE") for one in shop.results())
        )

    eventually(done, "all is done", PATIENCE)


def life_of(state: Path, folder: Path, broker: Machine, results: Machine) -> tuple[set[str], list[tuple[str, ...]]]:
    """The names of the tasks that an application has, and what came of each that ran in a day."""
    folder.mkdir()
    with FlaskShop(state, folder, broker, results).open() as shop:
        shop.start_worker()
        a_day_in(shop)
        found = shop.results()
        ticks = [one for one in found if json.loads(one[0]) in TICKS]
        assert any(json.loads(one[4]) == "counted saw" for one in ticks)
        names = shop.run("celery", "-A", "shop", "inspect", "registered", "--json", "-d", "w@test")
        registered = {name.split(" ")[0] for name in json.loads(names)["w@test"]}
        seen = {json.loads(one[0]) for one in found}
        tasks = {name for name in registered if name.startswith("shop.tasks.") or name == "audit"}
        assert tasks - seen == WITHOUT_RESULT
        return tasks, sorted(one for one in found.elements() if json.loads(one[0]) not in TICKS)


def test_all_thirty_tasks_do_the_same_before_and_after(broker: Machine, results: Machine, tmp_path: Path) -> None:
    # Given a day in the shop as it was
    tasks, before = life_of(BEFORE, tmp_path / "before", broker, results)
    assert len(tasks) == 30
    # When there is a day after the adoption
    tasks_after, after = life_of(AFTER, tmp_path / "after", broker, results)
    # Then each task did as it had done
    assert tasks_after == tasks
    assert after == before


def test_what_happened_is_handled_once_though_the_worker_is_killed(
    broker: Machine, results: Machine, tmp_path: Path
) -> None:
    with FlaskShop(AFTER, tmp_path, broker, results).open() as shop:
        # Given a worker, and customers
        worker = shop.start_worker()
        shop.ended(shop.post("/products", [{"name": "saw", "price": 300, "stock": 1000}])["task"])
        for number in range(ORDERS):
            shop.post("/orders", {"customer": f"c{number}", "lines": {"saw": 1 + 3 * (number == 7)}})

        def earned() -> list[int]:
            return [row[0] for row in shop.rows("SELECT order_id FROM points ORDER BY order_id")]

        # When it is killed in the midst of their orders, and another one starts
        eventually(earned, "the first points are there", PATIENCE)
        kill(worker)
        assert len(earned()) < ORDERS
        shop.start_worker()
        # Then each order earned its points once
        eventually(lambda: len(earned()) >= ORDERS, "all points are there", PATIENCE)
        assert earned() == list(range(1, ORDERS + 1))
        # And a plain task that a handler sent has run
        eventually(lambda: ("c7",) in shop.rows("SELECT \"to\" FROM mail WHERE subject = 'thank you'"), "it is thanked")
