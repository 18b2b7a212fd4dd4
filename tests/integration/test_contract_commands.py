"""`events asyncapi` and `events catalog`, as one types them."""

import json
from pathlib import Path

from support.operator import Operator

APPLICATION = Path(__file__).parent.parent / "support" / "application"


def test_a_contract_and_a_catalog_are_made_without_a_database(tmp_path: Path) -> None:
    # Given an application, and a database that nobody can reach
    nowhere = "postgresql://nobody:secret@127.0.0.1:1/none"
    operator = Operator(nowhere, EVENTS_HANDLERS="shop", PYTHONPATH=str(APPLICATION))
    # Then its contract can be written
    told = json.loads(operator.sees("asyncapi", "--all", "--format", "json", "--title", "Shop"))
    assert (told["asyncapi"], told["info"]["title"]) == ("3.0.0", "Shop")
    assert "OrderPlaced" in told["channels"]
    # And its catalog, which says what it could not learn, and tells no password
    done = operator.runs("catalog", "--html", tmp_path / "catalog.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "catalog.html").read_text("utf-8")
    assert "OrderPlaced" in page
    assert "The ledger could not be asked" in page
    assert "127.0.0.1" in done.stderr
    assert "secret" not in page + done.stderr


def test_what_is_wrong_is_one_line() -> None:
    operator = Operator("sqlite:///none.db", EVENTS_HANDLERS="absent_module")
    assert "EVENTS_HANDLERS: can't import 'absent_module'" in operator.is_refused(1, "asyncapi")
