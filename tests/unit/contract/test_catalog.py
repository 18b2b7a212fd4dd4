"""The catalog: what is known of events, by code and ledger, as a table, as JSON and as a page."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from events import ConfigurationError, DomainEvent, EventsError, IntegrationEvent, handles, publish, translates
from events.cli import contract
from events.contract.catalog import Catalog, CatalogEvent, CatalogHandler, LedgerFacts, catalog_of, collect
from events.contract.graph import as_svg, pictures
from events.contract.page import as_page
from events.contract.routes import routes_of
from events.current_pipeline import use_pipeline
from events.handling.registry import handler_named
from events.pipeline import Pipeline
from events.settings.settings import Settings
from events.testing import InlinePipeline

EVIL = '"><script>alert(1)</script>&'


class RoomBooked(DomainEvent, aggregate_id="room", masked="guest"):
    """Somebody booked a room."""

    room: int
    guest: str
    nights: int | None = None


class RoomTaken(IntegrationEvent, name="hotel.room-taken.v1"):
    room: int


class KeyMade(DomainEvent):
    room: int


@translates(RoomBooked)
def tell_portals(event: RoomBooked) -> RoomTaken:
    """Portals show it as taken."""
    return RoomTaken(room=event.room)


@handles(RoomBooked, queue="desk")
def make_key(event: RoomBooked) -> None:
    publish(KeyMade(room=event.room))


HOTEL = [RoomBooked, RoomTaken, KeyMade]
HANDLERS = [handler_named("tell_portals"), handler_named("make_key")]
(NATS,) = routes_of(Settings(broker_url="", bridges=("nats://me:secret@n:4222",)))


def named(catalog: Catalog, name: str) -> CatalogEvent:
    return next(event for event in catalog.events if event.name == name)


@pytest.fixture
def no_database(tmp_path: Path) -> Iterator[Pipeline]:
    """Settings that name a ledger which isn't there; commands use them."""
    pipeline = Pipeline(Settings(database_url=f"sqlite:///{tmp_path / 'none.db'}", broker_url="", handlers=__name__))
    use_pipeline(pipeline)
    try:
        yield pipeline
    finally:
        use_pipeline(None)
        pipeline.close()


def test_code_says_what_is_declared() -> None:
    found = catalog_of(HOTEL, HANDLERS, [NATS], "events")
    booked = named(found, "RoomBooked")
    assert [(one.name, one.type, one.required, one.masked) for one in booked.fields] == [
        ("room", "int", True, ()), ("guest", "str", True, ("guest",)), ("nights", "int | None", False, ()),
    ]  # fmt: skip
    assert (booked.public, booked.about, booked.aggregate) == (False, "Somebody booked a room.", "room")
    assert (list(booked.handlers), list(booked.forwarded_to)) == (["make_key", "tell_portals"], [])
    taken = named(found, "hotel.room-taken.v1")
    assert (taken.public, list(taken.translators), list(taken.forwarded_to)) == (True, ["tell_portals"], ["nats"])
    kinds = {one.name: (one.kind, one.queue, one.subscribed) for one in found.handlers}
    assert kinds == {"tell_portals": ("translator", "events", None), "make_key": ("handler", "desk", None)}


def test_the_ledger_adds_who_published_and_who_else_listens(events_pipeline: InlinePipeline) -> None:
    # Given an event whose handler published another, and a service that we know nothing of
    publish(RoomBooked(room=7, guest="Ann"))
    events_pipeline.run()
    lineage = events_pipeline.ledger.lineage
    subscribed = lineage.subscribed() | {"send_bill": {"RoomBooked", "StayEnded"}, "bridge.kafka": {"RoomBooked"}}
    # When both are asked
    found = catalog_of(HOTEL, HANDLERS, [], "events", LedgerFacts(subscribed, lineage.caused(100)))
    # Then they complete each other
    assert list(named(found, "KeyMade").caused_by) == ["RoomBooked"]
    assert list(named(found, "hotel.room-taken.v1").caused_by) == []  # its translator says more
    booked = named(found, "RoomBooked")
    assert {"send_bill", "make_key"} <= set(booked.handlers)
    assert list(booked.forwarded_to) == ["kafka"]
    assert named(found, "StayEnded").loaded is False
    assert {one.name: one.subscribed for one in found.handlers}["make_key"] is True
    # And so does the whole
    assert collect(events_pipeline).unknown == ""


def test_without_a_database_the_code_has_to_do_and_none_is_made(no_database: Pipeline) -> None:
    found = collect(no_database)
    assert "there is no file" in found.unknown
    assert named(found, "RoomBooked").fields
    assert no_database.ledger.engine.url.database is not None
    assert not Path(no_database.ledger.engine.url.database).exists()


def test_a_database_without_our_tables_is_said_to_be_so(no_database: Pipeline) -> None:
    Path(str(no_database.ledger.engine.url.database)).touch()
    assert "run `events migrate`" in collect(no_database).unknown


def test_the_command_prints_a_table_and_json(no_database: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    contract.catalog()
    shown = capsys.readouterr()
    assert "tell_portals" in shown.out
    assert "there is no file" in shown.err
    contract.catalog(as_json=True)
    told = json.loads(capsys.readouterr().out)
    (booked,) = (event for event in told["events"] if event["name"] == "RoomBooked")
    assert (booked["public"], booked["masked"], booked["version"]) == (False, ["guest"], 1)
    assert "there is no file" in told["unknown"]


def test_the_commands_write_files_and_say_what_is_in_the_way(
    no_database: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EVENTS_HANDLERS", __name__)
    contract.catalog(html=tmp_path / "catalog.html")
    assert "RoomBooked" in (tmp_path / "catalog.html").read_text("utf-8")
    # The form is the file's, unless another is asked for
    contract.asyncapi(output=tmp_path / "contract.json")
    assert "hotel.room-taken.v1" in json.loads((tmp_path / "contract.json").read_text())["channels"]
    contract.asyncapi(output=tmp_path / "contract.yaml", every=True)
    assert "  RoomBooked:\n    address: RoomBooked" in (tmp_path / "contract.yaml").read_text()
    capsys.readouterr()
    contract.asyncapi(as_json=True)
    assert json.loads(capsys.readouterr().out)["info"] == {"title": __name__, "version": "1.0.0"}
    # And what can't be written, or read, is named
    with pytest.raises(EventsError, match=r"can't write .*nowhere.*: No such file or directory"):
        contract.catalog(html=tmp_path / "nowhere" / "catalog.html")
    with pytest.raises(EventsError, match=r"can't write .*: Is a directory"):
        contract.asyncapi(output=tmp_path)
    monkeypatch.setenv("EVENTS_HANDLERS", "absent_module")
    with pytest.raises(ConfigurationError, match="EVENTS_HANDLERS: can't import 'absent_module'"):
        contract.asyncapi()


class Page(HTMLParser):
    """Reads a page strictly: every tag has its end."""

    VOID = ("meta", "input", "rect", "br", "path")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_needs_nothing_else_and_trusts_nobody() -> None:
    # Given a catalog in which every text wants to be more than text
    found = catalog_of(
        HOTEL, HANDLERS, [NATS], "events", LedgerFacts({EVIL: [EVIL, "RoomBooked"]}, {EVIL: ["KeyMade"]}), EVIL
    )
    evil = [
        replace(one, about=EVIL, module=EVIL, aggregate=EVIL, masked=[EVIL], forwarded_to=[EVIL],
                fields=[replace(field, name=EVIL, type=EVIL, about=EVIL) for field in one.fields])
        for one in found.events
    ]  # fmt: skip
    handlers = [replace(one, about=EVIL, queue=EVIL) for one in found.handlers]
    # When it is made a page
    text = as_page(replace(found, events=evil, handlers=handlers), EVIL)
    page = Page(text)
    # Then there is one script, which is ours, and nothing refers to anywhere else
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not [attributes for _, attributes in page.tags if {"src", "onerror", "onclick"} & set(attributes)]
    assert not re.search(r"https?:|//\w+\.|@import|url\((?!#)", text)
    links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    anchors = {f"#{attributes['id']}" for _, attributes in page.tags if "id" in attributes}
    assert links <= anchors
    assert EVIL in page.texts


def test_the_page_names_everything() -> None:
    page = Page(as_page(catalog_of(HOTEL, HANDLERS, [NATS]), "Hotel"))
    assert {"RoomBooked", "hotel.room-taken.v1", "make_key", "nats", "int | None", "masked: guest"} <= set(page.texts)


def catalog_like(events: int) -> Catalog:
    """So many events in a long chain that ends where it began, and two bystanders."""
    names = [f"Event{number}" for number in range(events)]
    handlers = [
        CatalogHandler(f"to_{number}", "translator", events=[name], publishes=[names[(number + 1) % events]])
        for number, name in enumerate(names)
    ]
    return Catalog([CatalogEvent(name) for name in [*names, "Alone"]], handlers)


@pytest.mark.parametrize("events", [1, 3, 60])
def test_a_picture_has_all_that_hangs_together_each_in_its_own_place(events: int) -> None:
    (picture,) = pictures(catalog_like(events), {})
    drawn = as_svg(picture)
    # Then every box and every arrow is drawn, also those that close the circle
    assert len(picture.boxes) == 2 * events
    assert len(re.findall("<rect", drawn)) == len(picture.boxes)
    assert len(re.findall('<path class="arrow', drawn)) == 2 * events
    # And no box lies on another
    places = [(box.column, box.y) for box in picture.boxes.values()]
    assert len(set(places)) == len(places)
    by_column: dict[int, list[float]] = {}
    for column, y in places:
        by_column.setdefault(column, []).append(y)
    for ys in by_column.values():
        ordered = sorted(ys)
        assert all(after - before >= 28 for before, after in pairwise(ordered))


def test_what_the_ledger_saw_is_drawn_from_the_one_handler_that_can_have_done_it() -> None:
    found = catalog_of(HOTEL, HANDLERS, [], "", LedgerFacts({}, {"KeyMade": ["RoomBooked"]}))
    (picture,) = pictures(found, {})
    assert picture.arrows["h:make_key", "e:KeyMade"] is True
    assert picture.arrows["h:tell_portals", "e:hotel.room-taken.v1"] is False
