"""A module that is run again replaces what it defined; two definitions of one name in one run are an error."""

import importlib
import importlib.util
import linecache
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from events import DefinitionError
from events.event import event_named
from events.handling.loading import load_handlers
from events.handling.registry import handler_named

HEAD = "import functools\nfrom events import DomainEvent, handles, translates, IntegrationEvent\n"

Module = Callable[..., ModuleType]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    """Writes a module and imports it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made: list[str] = []

    def write(name: str, source: str, *, again: bool = False) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(HEAD + textwrap.dedent(source))
        importlib.invalidate_caches()
        made.append(name)
        return importlib.reload(sys.modules[name]) if again else importlib.import_module(name)

    yield write  # type: ignore[misc]
    for name in made:
        sys.modules.pop(name, None)


TWO = {
    "loop": """
        class LoopA(DomainEvent): pass
        class LoopB(DomainEvent): pass
        for event_class in (LoopA, LoopB):
            @handles(event_class)
            def in_a_loop(event: DomainEvent) -> None: ...
    """,
    "factory": """
        class FactoryA(DomainEvent): pass
        class FactoryB(DomainEvent): pass
        def make(event_class):
            @handles(event_class)
            def from_a_factory(event: DomainEvent) -> None: ...
        make(FactoryA)
        make(FactoryB)
    """,
    "closures": """
        class ClosedOver(DomainEvent): pass
        def make(to):
            @handles(ClosedOver)
            def from_a_closure(event: ClosedOver) -> None: print(to)
        make("a")
        make("b")
    """,
    "instances": """
        class Heard(DomainEvent): pass
        class Notify:
            def __init__(self, to): self.to = to
            def handle(self, event: Heard) -> None: ...
        handles(Heard)(Notify("mail"))
        handles(Heard)(Notify("sms"))
    """,
    "methods": """
        class Met(DomainEvent): pass
        class Bell:
            def ring_a_bell(self, event: Met) -> None: ...
        handles(Met)(Bell().ring_a_bell)
        handles(Met)(Bell().ring_a_bell)
    """,
    "one function twice": """
        class TwiceA(DomainEvent): pass
        class TwiceB(DomainEvent): pass
        def heard_twice(event: DomainEvent) -> None: ...
        for event_class in (TwiceA, TwiceB):
            handles(event_class)(heard_twice)
    """,
    "translators": """
        class Inside(DomainEvent): pass
        class Outside(IntegrationEvent): pass
        for number in (1, 2):
            @translates(Inside)
            def told_in_a_loop(event: Inside) -> Outside: return Outside()
    """,
    "events": """
        def make(kind):
            class MadeByAFactory(DomainEvent):
                value: kind
        make(int)
        make(str)
    """,
    "created": """
        import pydantic
        for kind in (int, str):
            pydantic.create_model("MadeInALoop", __base__=DomainEvent, value=(kind, ...))
    """,
}


@pytest.mark.parametrize("kind", TWO)
def test_one_place_that_defines_two_things_of_one_name_is_an_error(module: Module, kind: str) -> None:
    with pytest.raises(DefinitionError, match=r"two (handlers|events) are named .*py:\d+.* and .*py:\d+.*name=\.\.\."):
        module(f"two_by_{kind.replace(' ', '_')}", TWO[kind])


def test_a_decorator_without_wraps_is_an_error(module: Module) -> None:
    with pytest.raises(DefinitionError, match=r"\*args.*functools\.wraps"):
        module(
            "without_wraps",
            """
            class Wrapped(DomainEvent): pass
            def plain(function):
                def wrapper(*a, **k): return function(*a, **k)
                return wrapper
            @handles(Wrapped)
            @plain
            def one(event: Wrapped) -> None: ...
            """,
        )


def test_each_with_a_name_of_its_own_is_fine(module: Module) -> None:
    module(
        "named_instances",
        """
        class NotedAnew(DomainEvent): pass
        class Note:
            def __init__(self, to): self.to = to
            def handle(self, event: NotedAnew) -> None: ...
        for to in ("mail", "sms"):
            handles(NotedAnew, name=f"note_by_{to}")(Note(to))
        def make(event_class):
            def noted_again(event: NotedAnew) -> None: ...
            return noted_again
        same = make(NotedAnew)
        handles(NotedAnew)(same)
        handles(NotedAnew)(same)  # the very same says nothing new
        """,
    )
    assert handler_named("note_by_mail").call.__self__.to == "mail"  # type: ignore[attr-defined]


SOURCE = """
    class Reloaded(DomainEvent):
        value: {kind}
    def make(name):
        @handles(Reloaded, name=name)
        def from_a_factory_that_is_reloaded(event: Reloaded) -> None: ...
    make("reloaded_one")
    make("reloaded_two")
    @handles(Reloaded)
    def on_reloaded(event: Reloaded) -> str: return "{kind}"
"""


def test_a_reload_replaces_even_where_lines_have_moved(module: Module) -> None:
    # Given a module that was imported
    module("reloaded", SOURCE.format(kind="int"))
    # When it is edited and reloaded
    edited = module("reloaded", "\n\n" + textwrap.dedent(SOURCE.format(kind="str")), again=True)
    # Then what it says now counts
    assert event_named("Reloaded") is edited.Reloaded
    assert handler_named("on_reloaded").call is edited.on_reloaded
    # And the same when it was forgotten and is imported anew
    del sys.modules["reloaded"]
    again = module("reloaded", SOURCE.format(kind="float"))
    assert event_named("Reloaded") is again.Reloaded


@pytest.mark.parametrize("module", ["plugins", None])
def test_one_text_that_is_executed_several_times_makes_several(module: str | None) -> None:
    # Given a text that is executed, as plug-ins and templates are
    source = HEAD + f"class Executed_{module}(DomainEvent): of: str = KIND\n"
    names = {"__name__": module} if module else {}
    exec(source, {**names, "KIND": "first"})
    # When it is executed once more, for something else, then the second isn't taken for a reload of the first
    with pytest.raises(DefinitionError, match="two events"):
        exec(source, {**names, "KIND": "second"})


def test_a_script_may_be_imported_by_its_name_as_well(module: Module, tmp_path: Path) -> None:
    # Given a script that runs
    named = module(
        "script_and_module",
        "class OfAScript(DomainEvent): pass\n@handles(OfAScript)\ndef of_a_script(event: OfAScript) -> None: ...",
    )
    # When it runs as __main__, too
    path = tmp_path / "script_and_module.py"
    space: dict[str, Any] = {"__name__": "__main__", "__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), space)
    # Then they are one
    assert event_named("OfAScript") is space["OfAScript"] is not named.OfAScript


def test_a_module_under_two_names_is_an_error(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a package whose folder is on the path itself
    package = tmp_path / "doubled_shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "doubled_handlers.py").write_text(HEAD + "class Doubled(DomainEvent): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(package)
    # When its module is loaded by both of its names, then that is said
    load_handlers(["doubled_shop.doubled_handlers"])
    with pytest.raises(DefinitionError, match=r"under two names, doubled_shop\.doubled_handlers and doubled_handlers"):
        load_handlers(["doubled_handlers"])


def test_a_cell_of_a_notebook_replaces_what_an_earlier_one_defined(caplog: pytest.LogCaptureFixture) -> None:
    # Given a session in which each cell is a source of its own, as IPython compiles them
    space: dict[str, Any] = {"__name__": "__main__"}

    def run(number: int, source: str) -> None:
        code = compile(textwrap.dedent(source), f"/tmp/ipykernel_1/{number}.py", "exec")
        exec(code.replace(co_name=f"<cell line: {number}>"), space)

    run(1, HEAD + "class InACell(DomainEvent): pass\n@handles(InACell)\ndef in_a_cell(event: InACell) -> None: ...")
    # When another cell defines them again
    run(2, "class InACell(DomainEvent): n: int = 1\n@handles(InACell)\ndef in_a_cell(event: InACell) -> None: ...")
    # Then the newer ones count, and it is said
    assert event_named("InACell") is space["InACell"]
    assert handler_named("in_a_cell").call is space["in_a_cell"]
    assert "handler 'in_a_cell' is defined anew" in caplog.text
    # And a loop in one cell is an error all the same
    with pytest.raises(DefinitionError, match="two handlers"):
        run(3, "for n in (1, 2):\n  @handles(InACell)\n  def looped_in_a_cell(event: InACell) -> None: ...")
    linecache.checkcache()


def test_one_source_that_is_loaded_under_several_names_by_hand_is_an_error(module: Module, tmp_path: Path) -> None:
    # Given a plug-in that is loaded for each tenant, as importlib's manual does it
    module("plugged_in", "class PluggedIn(DomainEvent): pass")
    source = tmp_path / "plug_in_template.py"
    source.write_text(
        HEAD + "from plugged_in import PluggedIn\n@handles(PluggedIn)\ndef audits(event: PluggedIn): ...\n"
    )

    def load(name: str) -> None:
        spec = importlib.util.spec_from_file_location(name, source)
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))

    load("tenant_a")
    with pytest.raises(DefinitionError, match=r"under two names, tenant_a and tenant_b, so that handler 'audits' is"):
        load("tenant_b")
    # And one that is loaded again by its name replaces what it defined
    load("tenant_a")
