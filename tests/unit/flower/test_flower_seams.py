"""What of Flower our tabs lean on. If one of these fails, a release of Flower has moved a seam: look at
events/flower before it is let in."""

import inspect
import logging
from importlib.metadata import version
from pathlib import Path

import flower.app
import flower.command
import flower.urls
import pytest
from flower.api.control import TaskRevoke
from flower.options import default_options
from flower.utils.tasks import get_task_by_id
from flower.views import BaseHandler
from flower.views.tasks import TaskView
from tornado.web import RequestHandler

from events.flower import installing
from events.flower.templates_loader import OURS, TABS, ChainedLoader, with_tabs

FLOWERS = Path(flower.urls.settings["template_path"])


def test_handlers_are_one_list_that_the_application_is_made_of() -> None:
    assert isinstance(flower.urls.handlers, list)
    assert flower.app.default_handlers is flower.urls.handlers
    names = {getattr(one, "name", None) for one in flower.urls.handlers}
    assert {"main", "workers", "tasks", "task", "broker"} <= names


def test_settings_are_given_to_the_application_and_forms_are_guarded() -> None:
    assert flower.urls.settings["xsrf_cookies"]
    assert '"template_loader" in settings' in inspect.getsource(RequestHandler.create_template_loader)
    source = inspect.getsource(flower.command)
    assert "Flower(capp=app, options=options, **settings)" in source
    assert source.index("    apply_options(") < source.index("    flower_app = Flower(")  # flowerconfig.py comes first


@pytest.mark.parametrize("name", ["basic_auth", "auth", "read_only", "url_prefix", "max_tasks", "max_workers"])
def test_options_have_these_names(name: str) -> None:
    assert name in default_options


def test_the_base_of_its_pages_checks_who_asks_and_from_where() -> None:
    source = inspect.getsource(BaseHandler.check_xsrf_cookie)
    assert "Sec-Fetch-Site" in source
    assert "Origin" in source
    for name in ("render", "write_error", "get_current_user", "set_secure_cookie", "set_default_headers"):
        assert name in vars(BaseHandler), name
    assert "current_user = None" in inspect.getsource(BaseHandler.write_error)
    assert "url_prefix" in inspect.getsource(BaseHandler.render)


def test_the_page_of_a_task_is_found_by_its_id() -> None:
    assert list(inspect.signature(get_task_by_id).parameters) == ["events", "task_id"]
    assert list(inspect.signature(TaskView.get).parameters) == ["self", "task_id"]


@pytest.mark.parametrize("block", ["title", "navbar", "container", "extra_scripts"])
def test_the_frame_of_its_pages_has_these_blocks(block: str) -> None:
    assert f"{{% block {block} %}}" in (FLOWERS / "base.html").read_text()


def test_the_frame_has_what_our_style_builds_on() -> None:
    styles = (FLOWERS.parent / "static" / "css" / "flower.css").read_text()
    for name in ("--flower-surface", "--flower-text-muted", "--flower-danger", "--flower-success", "--flower-warning"):
        assert f"{name}:" in styles


def test_our_tabs_follow_its_own() -> None:
    changed = with_tabs((FLOWERS / "navbar.html").read_text())
    places = [changed.index(f"reverse_url('{name}')") for name in ("broker", *(route for _, route, _ in TABS))]
    assert places == sorted(places)


def test_without_a_place_for_tabs_there_is_a_warning_and_the_bar_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert with_tabs("<nav>another bar</nav>") == "<nav>another bar</nav>"
    assert "/dead-letters" in caplog.text


@pytest.mark.parametrize("name", [path.name for path in (*OURS.glob("*.html"), *FLOWERS.glob("*.html"))])
def test_every_template_is_understood_beside_the_others(name: str) -> None:
    assert ChainedLoader(str(FLOWERS)).load(name)


def test_none_of_ours_takes_the_name_of_one_of_flowers() -> None:
    assert all(path.name.startswith("ledger-") for path in OURS.glob("*.html"))
    assert not any(path.name.startswith("ledger-") for path in FLOWERS.glob("*.html"))


@pytest.mark.parametrize("found", ["2.1.0", "2.0.1", "3.0.0"])
def test_another_flower_ends_with_one_line(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "version", lambda _: found)
    with pytest.raises(SystemExit) as ended:
        installing.install()
    assert found in str(ended.value)
    assert ">=2.2" in str(ended.value)
    assert "\n" not in str(ended.value)


def test_this_flower_is_one_that_fits() -> None:
    assert version("flower") in installing.SUPPORTED


def test_its_buttons_ask_by_these_names() -> None:
    assert list(inspect.signature(TaskRevoke.post).parameters) == ["self", "taskid"]
    assert list(inspect.signature(TaskRevoke.run_blocking).parameters)[:4] == ["self", "operation", "target", "func"]
    assert isinstance(BaseHandler.capp, property)
