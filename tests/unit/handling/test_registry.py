"""Handlers: what can be wrong is found at import, and both places are named."""

import functools
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from events import ConfigurationError, DefinitionError, Delivery, DomainEvent, handles
from events.handling.kinds import Wanted
from events.handling.loading import load_handlers
from events.handling.registry import handler_named


class Rang(DomainEvent):
    pass


class Knocked(DomainEvent):
    pass


def test_functions_classes_instances_and_wrapped_functions_can_be_handlers() -> None:
    def loud(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def wrapper(*args: object, **kwargs: object) -> None:
            function(*args, **kwargs)

        return wrapper

    @handles(Rang, name="as function")
    @loud
    def function(event: Rang, session: Session, connection: Connection, delivery: Delivery, extra: int = 7) -> None: ...

    @handles(Rang, Knocked)
    class AsClass:
        def handle(self, event: Rang | Knocked) -> None: ...

    class Plain:
        def __init__(self, how: str) -> None: ...

        def handle(self, event: DomainEvent) -> None: ...

    handles(Knocked, name="as instance")(Plain("loud"))
    assert list(handler_named("as function").wants.values()) == [
        Wanted.EVENT, Wanted.SESSION, Wanted.CONNECTION, Wanted.DELIVERY,
    ]  # fmt: skip
    assert handler_named("AsClass").events == (Rang, Knocked)
    assert handler_named("as instance").wants == {"event": Wanted.EVENT}


def test_two_handlers_of_one_name_are_an_error_that_names_both_places() -> None:
    @handles(Rang)
    def open_the_door(event: Rang) -> None: ...

    with pytest.raises(DefinitionError, match=r"'open_the_door': .*py:\d+ and .*py:\d+; give one of them name="):

        @handles(Rang, name="open_the_door")
        def another(event: Rang) -> None: ...


def test_what_is_no_event_can_not_be_handled() -> None:
    with pytest.raises(DefinitionError, match=r"'deaf' \(.*test_registry\.py:\d+\) handles <class 'int'>.*no event"):

        @handles(int)  # type: ignore[arg-type]
        def deaf(event: int) -> None: ...


def test_a_parameter_that_can_not_be_injected_is_named_with_both_places() -> None:
    with pytest.raises(DefinitionError, match=r"(?s)'curious' \(.*py:\d+\): parameter 'who' is str.*Rang \(.*py:\d+\)"):

        @handles(Rang)
        def curious(event: Rang, who: str) -> None: ...

    with pytest.raises(DefinitionError, match="parameter 'event' has no annotation"):

        @handles(Rang)
        def vague(event) -> None: ...  # noqa: ANN001

    with pytest.raises(DefinitionError, match="parameter 'event' is Knocked"):

        @handles(Rang)
        def wrong_door(event: Knocked) -> None: ...


def test_a_generator_a_class_without_handle_and_one_with_arguments_are_refused() -> None:
    with pytest.raises(DefinitionError, match="generator"):

        @handles(Rang)
        def lazy(event: Rang) -> object:
            yield

    with pytest.raises(DefinitionError, match="without a method `handle`"):

        @handles(Rang)
        class Idle:
            pass

    with pytest.raises(DefinitionError, match="can't be made without arguments"):

        @handles(Rang)
        class Demanding:
            def __init__(self, what: str) -> None: ...

            def handle(self, event: Rang) -> None: ...


def test_all_modules_of_a_package_are_loaded_and_a_broken_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package_of_handlers"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "good.py").write_text(
        "from events import DomainEvent, handles\nclass Found(DomainEvent): pass\n"
        "@handles(Found)\ndef found_in_a_package(event: Found) -> None: ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    load_handlers(["package_of_handlers"])
    assert handler_named("found_in_a_package")
    (package / "worse.py").write_text("\nimport nothing_of_this_name\n")
    with pytest.raises(ConfigurationError, match=r"EVENTS_HANDLERS: .*package_of_handlers\.worse.*worse\.py:2"):
        load_handlers(["package_of_handlers"])
    with pytest.raises(ConfigurationError, match="EVENTS_HANDLERS: can't import 'absent_module'"):
        load_handlers(["absent_module"])


def hears(event: Rang) -> None: ...


@pytest.mark.parametrize("queue", ["", "a b", "a\0b", "q" * 201, "events.dead", 5])
def test_a_queue_that_no_broker_takes_is_refused_at_import(queue: Any) -> None:
    with pytest.raises(
        DefinitionError, match=r"handler 'queued' \(.*py:\d+\): queue=.*; use text of 1 to 200 characters"
    ):
        handles(Rang, name="queued", queue=queue)(hears)


@pytest.mark.parametrize("limit", ["5", float("nan"), float("inf"), True, [5], b"5"])
def test_a_time_limit_that_is_no_time_is_refused_at_import(limit: Any) -> None:
    with pytest.raises(DefinitionError, match=r"'limited'.*time_limit=.* is no time"):
        handles(Rang, name="limited", time_limit=limit)(hears)


def test_a_name_that_no_ledger_takes_is_refused_at_import() -> None:
    with pytest.raises(DefinitionError, match="printable"):
        handles(Rang, name="a\0b")(hears)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": 3}, "name=3; a name has 1 to 255 printable characters"),
        ({"name": ("a", "b")}, "a name has"),
        ({"queue": b"mail"}, "use text of 1 to 200"),
        ({"queue": ["mail"]}, "use text of 1 to 200"),
        ({"group": "no"}, "group='no'; use True or False"),
        ({"batch": True}, "batch=True; use 2 to"),
        ({"batch": "9"}, "batch='9'; use 2 to"),
        ({"linger": True}, "linger=True is no time"),
        ({"retry": 3}, "retry=3 is no Retry"),
    ],
)
def test_an_option_of_a_wrong_type_is_refused_at_import(options: dict[str, Any], said: str) -> None:
    def typed(event: Rang) -> None: ...

    def typed_batch(events: list[Rang]) -> None: ...

    with pytest.raises(DefinitionError) as caught:
        handles(Rang, **options)(typed_batch if "batch" in options else typed)
    assert said in str(caught.value)


def rings(bell: str, event: Rang, *, loud: bool = False) -> None: ...


class Ringing:
    def __call__(self, event: Rang) -> None: ...


def test_partials_and_callables_can_be_handlers_and_know_where_they_are_at_home() -> None:
    # Given a partial, which has no name of its own
    bound = functools.partial(rings, "small", loud=True)
    with pytest.raises(DefinitionError, match=r"has no name of its own; give it one: name="):
        handles(Rang)(bound)
    # When it is given one; and an object that can be called, which has its class's
    handles(Rang, name="rings_the_small")(bound)
    handles(Rang)(Ringing())
    # Then both are handlers, of this module
    for name in ("rings_the_small", "Ringing"):
        assert handler_named(name).home == __name__
        assert handler_named(name).wants == {"event": Wanted.EVENT}
        assert "test_registry.py" in handler_named(name).defined_at


@pytest.mark.parametrize("target", [dict.fromkeys, max, operator.itemgetter(0), functools.partial(print), type])
def test_what_says_nothing_of_its_parameters_is_refused_by_name(target: Any) -> None:
    with pytest.raises(DefinitionError, match="'compiled'"):
        handles(Rang, name="compiled")(target)
