"""Types of an event's field, each with values: what comes back from every store as it was, and what is refused.

A value stands for itself. `Refused(value)`: publish() refuses the event that holds it. Everything else comes back.
"""

import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, ip_address
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NewType, Union
from uuid import UUID, uuid1, uuid4
from zoneinfo import ZoneInfo

import pydantic
from pydantic import BaseModel, Field, Json, JsonValue, RootModel, SecretStr, SerializeAsAny, Strict
from typing_extensions import TypeAliasType

from support.field_models import (
    Address,
    Bit,
    Box,
    Cat,
    Checked,
    Colour,
    Counted,
    Dog,
    Floating,
    Gift,
    Hidden,
    Larger,
    Line,
    Loose,
    Money,
    Names,
    Odd,
    Pair,
    Plain,
    Point,
    Remembering,
    Renamed,
    Right,
    Rounded,
    Shouting,
    Size,
    State,
    Strictly,
    Tree,
    Weighed,
    remembering,
)


@dataclass(frozen=True)
class Refused:
    """The value of a field that can't come back."""

    value: Any


Alias = TypeAliasType("Alias", list[int])
Sku = NewType("Sku", str)
berlin, tokyo = ZoneInfo("Europe/Berlin"), timezone(timedelta(hours=9))
noon = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
one_id = uuid4()
nan, inf = float("nan"), float("inf")
Scale = Annotated[Decimal, Field(max_digits=12, decimal_places=2)]
Pets = Annotated[Cat | Dog, Field(discriminator="kind")]
LeftToRight = Annotated[Union[Strictly, Larger], Field(union_mode="left_to_right")]  # noqa: UP007
NotFinite = Annotated[Decimal, Field(allow_inf_nan=True)]
Upper = Annotated[str, pydantic.AfterValidator(str.upper)]
Exclaimed = Annotated[str, pydantic.AfterValidator(lambda text: f"{text}!")]
Truncated = Annotated[int, pydantic.PlainSerializer(lambda number: number // 10)]
Hexed = Annotated[
    int,
    pydantic.PlainSerializer(hex),
    pydantic.BeforeValidator(lambda found: int(found, 16) if isinstance(found, str) else found),
]
Raising = Annotated[int, pydantic.PlainSerializer(lambda number: 1 // 0)]

TYPES: list[tuple[Any, Sequence[Any]]] = [
    # texts, numbers, truth
    (str, ["", "ä\u2028😀", "\\u0000", '"', State.OPEN, Refused("nul \0"), Refused("half \ud800"), "1e5", ":1e5,2e7"]),
    (str | None, ["", None, "null"]),
    (int, [0, -1, 2**31, 2**63, 2**64, -(10**30), 10**400, Refused(10**5000), Size.LARGE]),
    (bool, [True, False]),
    (float, [0.0, -0.0, 1.0, 0.1, 1e16, 1e23, 1e308, 5e-324, 1.7976931348623157e308, nan, inf, -inf]),
    (complex, [1 + 2j, complex(0.5, -1)]),
    (Decimal, [Decimal("1.10"), Decimal("0E-8"), Decimal("1E+30"), Decimal("-0"), Decimal(10) ** 60]),
    (NotFinite, [Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity")]),
    (Scale, [Decimal("1.10"), Decimal("7")]),
    (Fraction, [Fraction(1, 3)]),
    (bytes, [b"", b"abc", bytes(range(256))]),
    (None, [None]),
    (Sku, ["a"]), (Alias, [[1, 2]]),
    (Literal["a", 1, True, None], ["a", 1, True, None]),
    (Literal[Colour.RED], [Refused(Colour.RED)]),
    (pydantic.StrictInt, [7]), (pydantic.StrictFloat, [7.0, 1e22]),
    (pydantic.StrictBool, [True]), (pydantic.StrictStr, ["a"]),
    (pydantic.StrictBytes, [b"a"]),
    (Annotated[UUID, Strict()], [one_id]), (Annotated[datetime, Strict()], [noon]),
    (pydantic.PositiveInt, [7]), (pydantic.NonNegativeFloat, [0.5]),
    (pydantic.FiniteFloat, [1e300]),
    (pydantic.ByteSize, [pydantic.ByteSize(2048)]),
    (pydantic.conint(gt=1), [2]), (pydantic.constr(strip_whitespace=True), ["a"]),
    # times and ids
    (datetime, [noon, noon.replace(tzinfo=None), noon.astimezone(tokyo), noon.astimezone(berlin),
                datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=berlin), datetime(2026, 10, 25, 2, 30, tzinfo=berlin),
                datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
                Refused(datetime(1880, 1, 1, tzinfo=berlin))]),
    (pydantic.AwareDatetime, [noon, noon.astimezone(tokyo)]),
    (pydantic.NaiveDatetime, [datetime(2026, 1, 1)]),
    (pydantic.PastDatetime, [datetime(2020, 1, 1, tzinfo=UTC)]),
    (date, [date(1, 1, 1), date(2026, 2, 28), date(9999, 12, 31)]),
    (time, [time(0), time(23, 59, 59, 999999), time(12, tzinfo=UTC), time(12, tzinfo=tokyo),
            Refused(time(12, tzinfo=berlin)), Refused(time(2, 30, fold=1))]),
    (timedelta, [timedelta(0), timedelta(days=-1, microseconds=1), timedelta(days=400, seconds=3)]),
    (UUID, [one_id, uuid1(), UUID(int=0)]),
    (pydantic.UUID4, [one_id]),
    (date | datetime, [date(2026, 1, 1), noon, datetime(2026, 1, 1)]),
    (ZoneInfo, [berlin]),
    # enums
    (Colour, list(Colour)),
    (Size, list(Size)), (State, list(State)),
    (Right, [Right.READ, Right.READ | Right.WRITE]),
    (Bit, [Bit.ONE]),
    (Pair, [Refused(Pair.LEFT)]),
    (Colour | Size, [Colour.RED, Size.SMALL, Refused(Size.LARGE)]),
    (dict[Colour, int], [{Colour.RED: 1}]),
    (list[State], [[State.OPEN]]),
    # collections
    (list[int], [[], [1, 2]]),
    (list, [[], [1, "a", None, [2.5]], Refused([(1, 2)]), Refused([Colour.RED]), Refused([{1}])]),
    (list[list[float]], [[[1.5], [nan, inf], []]]),
    (list[bytes], [[b"\xff\x00"]]),
    (tuple[int, str], [(1, "a")]), (tuple[int, ...], [(), (1, 2, 3)]),
    (tuple[float, float] | None, [(1.0, 2.0), None]),
    (tuple, [(1, "a"), ()]),
    (set[int], [set(), {3, 1, 2}]),
    (frozenset[str], [frozenset({"a", "b"})]),
    (set[tuple[int, int]], [{(1, 2), (3, 4)}]),
    (set[float], [{1.0, 1e17}]),
    (deque[int], [deque([1, 2])]),
    (deque, [deque([1])]),
    (Annotated[deque[int], Field(max_length=3)], [Refused(deque([1, 2], maxlen=3))]),
    (Sequence[int], [[1, 2], Refused((1, 2))]),
    (AbstractSet[int], [{1}]),
    (Mapping[str, int], [{"a": 1}]),
    (dict[str, int], [{}, {"a": 1, "": 2, "ä": 3}, {"b": 1, "a": 2}]),
    (dict[int, str], [{1: "a", -2: "b"}]),
    (dict[float, str], [{1.5: "a", 1e16: "b"}]),
    (dict[bool, int], [{True: 1, False: 0}]),
    (dict[UUID, date], [{one_id: date(2026, 1, 1)}]),
    (dict[date, int], [{date(2026, 1, 1): 1}]),
    (dict[Decimal, int], [{Decimal("1.10"): 1}]),
    (dict[bytes, int], [{b"abc": 1}]),
    (dict[tuple[int, int], str], [{}, Refused({(1, 2): "a"})]),
    (dict[int | str, str], [{"1": "a"}, {"b": "a"}, Refused({1: "a", "1": "b"}), Refused({1: "b"})]),
    (dict[str | None, int], [{"a": 1}, Refused({None: 1})]),
    (dict[str, dict[str, list[int]]], [{"a": {"b": [1]}}]),
    (dict, [{"a": 1}, {"a": None}, Refused({1: 2})]),
    (OrderedDict[str, int], [OrderedDict(a=1), Refused(OrderedDict(b=1, a=2))]),
    (defaultdict[str, list[int]], [defaultdict(list, a=[1])]),
    (Counter[str], [Counter("aab")]),
    (dict[str, Colour], [{"a": Colour.BLUE}]),
    # whatever
    (Any, [1, "a", None, True, 1.0, 1e16, 1e23, -1e300, [1, {"a": [2.5e-7, False]}], 10**30, Refused(State.OPEN),
           Refused(nan), Refused(inf), Refused(noon), Refused(one_id), Refused(Decimal("1.1")), Refused((1, 2)),
           Refused({1, 2}),
           Refused(b"a"), Refused(Colour.RED), Refused(Line(sku="a")), Refused(Money(Decimal(1))), Refused(Point(1, 2)),
           Refused(OrderedDict(a=1)), Refused(defaultdict(int)), Refused(Plain()), Refused(Size), Refused(print)]),
    (object, ["a", 5, Refused(Plain()), Refused(noon)]),
    (dict[str, Any], [{"a": 1, "b": [1.5, None]}, Refused({"a": noon}), Refused({"a": (1,)}), Refused({"a": {1: 2}})]),
    (JsonValue, [None, 1, 1.0, 1e17, "a", [True], {"a": [1]}, Refused(nan)]),
    (Json[list[int]], ["[1, 2]"]),
    # unions
    (int | str, [1, "1", "a"]),
    (int | float, [1, 1.0, 1.5, 1e16, 1e23, nan]),
    (float | int, [1, 1.0, -1e19]),
    (bool | int, [True, 1, 0, False]),
    (str | bytes, ["a", Refused(b"a")]),
    (UUID | str, [one_id, "a", Refused(str(one_id))]),
    (str | UUID, ["a", one_id]),
    (datetime | str, [noon, "a", Refused("2026-01-01T00:00:00Z")]),
    (Decimal | float, [1.5, Decimal("1.10")]),
    (int | Decimal, [1, Decimal("1.10")]),
    (list[int] | tuple[int, ...], [[1], Refused((1,))]),
    (set[int] | list[int], [[1], Refused({1})]),
    (int | None, [0, None]),
    (Cat | Dog, [Cat(lives=7), Dog(name="a")]),
    (Pets, [Cat(lives=7), Dog(name="a")]),
    (list[Pets], [[Cat(lives=7), Dog(name="a")]]),
    (LeftToRight, [Strictly(x=1), Refused(Larger(x=1, y=2))]),
    (Strictly | Larger, [Strictly(x=1), Larger(x=1, y=2)]),
    (Line | Gift, [Line(sku="a"), Gift(sku="a", note="b")]),
    (Line | None, [None, Line(sku="a"), Refused(Gift(sku="a", note="b"))]),
    # models and the like
    (Line, [Line(sku="a"), Refused(Gift(sku="a", note="b")), Refused(Line.model_construct(sku=1, n="x"))]),
    (list[Line], [[Line(sku="a"), Line(sku="b", n=2)], Refused([Gift(sku="a", note="b")])]),
    (dict[str, Line], [{"a": Line(sku="a")}, Refused({"a": Gift(sku="a", note="b")})]),
    (tuple[Line, ...], [(Line(sku="a"),), Refused((Gift(sku="a", note="b"),))]),
    (SerializeAsAny[Line], [Line(sku="a"), Refused(Gift(sku="a", note="b"))]),
    (BaseModel, [Refused(Line(sku="a"))]),
    (Loose, [Loose(a=1), Refused(Loose(a=1, tenant="x"))]),
    (Box[int], [Box[int](inside=1)]),
    (Box[Line], [Box[Line](inside=Line(sku="a"))]),
    (Box, [Box(inside=1), Refused(Box(inside=noon))]),
    (Tree, [Tree(name="a", children=[Tree(name="b")])]),
    (Names, [Names(["a"])]),
    (RootModel[dict[str, date]], [RootModel[dict[str, date]]({"a": date(2026, 1, 1)})]),
    (Hidden, [Hidden(shown=1), Refused(Hidden(shown=1, left_out=2))]),
    (Renamed, [Renamed(ä=1)]),
    (Shouting, [Refused(Shouting(text="a"))]),
    (Counted, [Counted(n=2)]), (Odd, [Refused(Odd(n=1))]),
    (Rounded, [Rounded(n=1.5), Refused(Rounded(n=1.25))]),
    (Floating, [Floating(lat=1.5), Refused(Floating(lat=inf)), Refused(Floating(lat=nan))]),
    (Remembering, [Remembering(n=1), Refused(remembering(2))]),
    (Point, [Point(1, 2)]), (Address, [{"street": "a"}, {"street": "a", "number": 1}, {}]),
    (Money, [Money(Decimal("1.10"))]),
    (Weighed, [Weighed(1), Weighed(1, known=False)]),
    (Checked, [Checked(n=1)]),
    (list[Money], [[Money(Decimal("1.10"), "CHF")]]),
    # validators and serializers of the application's own
    (Upper, ["A"]),
    (Exclaimed, [Refused("a")]),
    (Truncated, [0, Refused(17)]),
    (Hexed, [255]),
    (Raising, [Refused(1)]),
    (SecretStr, [Refused(SecretStr("a"))]),
    (pydantic.SecretBytes, [Refused(pydantic.SecretBytes(b"a"))]),
    (pydantic.Secret[int], [Refused(pydantic.Secret[int](1))]),
    (pydantic.Base64Bytes, [b"YWJj"]),
    # of the library
    (Path, [Path("/a/b"), Path()]),
    (PurePosixPath, [PurePosixPath("a")]),
    (re.Pattern[str], [re.compile("a+"), Refused(re.compile("a+", re.IGNORECASE))]),
    (IPv4Address, [ip_address("127.0.0.1")]), (IPv6Address, [ip_address("::1")]),
    (IPv4Network, [IPv4Network("10.0.0.0/8")]), (IPv4Interface, [IPv4Interface("10.0.0.1/8")]),
    (pydantic.IPvAnyAddress, [ip_address("127.0.0.1")]),
    (pydantic.HttpUrl, [pydantic.HttpUrl("https://example.org/a?b=ä")]),
    (pydantic.AnyUrl, [pydantic.AnyUrl("redis://localhost/0")]),
    (pydantic.PostgresDsn, [pydantic.PostgresDsn("postgresql://a:b@localhost/c")]),
    (type[int], [Refused(int)]),
    (pydantic.ImportString, ["math.pi", "math.sqrt"]),
]  # fmt: skip
