"""What the fields of events are made of in tests: models, enums and the like, honest ones and treacherous ones."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum
from typing import Generic, Literal, NamedTuple, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field, RootModel
from typing_extensions import TypedDict

Item = TypeVar("Item")


class Colour(Enum):
    RED, BLUE = "red", 2


class Size(IntEnum):
    SMALL, LARGE = 1, 2


class State(StrEnum):
    OPEN, SHUT = "open", "shut"


class Right(Flag):
    READ, WRITE = 1, 2


class Bit(IntFlag):
    ONE, TWO = 1, 2


class Pair(Enum):
    LEFT, RIGHT = (1, 2), (2, 1)


class Line(BaseModel):
    sku: str
    n: int = 1


class Gift(Line):
    note: str


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


class Strictly(BaseModel):
    model_config = ConfigDict(extra="forbid")
    x: int


class Larger(Strictly):
    y: int


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str


class Box(BaseModel, Generic[Item]):
    inside: Item


class Tree(BaseModel):
    name: str
    children: list["Tree"] = []


class Names(RootModel[list[str]]):
    pass


class Hidden(BaseModel):
    shown: int
    left_out: int = Field(default=0, exclude=True)


class Renamed(BaseModel):
    a: int = Field(alias="ä")


class Shouting(BaseModel):
    text: str

    @pydantic.field_validator("text")
    @classmethod
    def louder(cls, text: str) -> str:
        return f"{text}!"


class Counted(BaseModel):
    n: int

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return self.n * 2


class Odd(BaseModel):
    n: int

    @pydantic.model_serializer
    def said(self) -> dict[str, int]:
        return {"m": self.n}


class Rounded(BaseModel):
    n: float

    @pydantic.field_serializer("n")
    def shortened(self, n: float) -> float:
        return round(n, 1)


class Floating(BaseModel):
    lat: float


class Remembering(BaseModel):
    n: int
    _seen: int = 0


class Point(NamedTuple):
    x: int
    y: int


class Address(TypedDict, total=False):
    street: str
    number: int


@dataclass
class Money:
    amount: Decimal
    currency: str = "EUR"


@dataclass(frozen=True)
class Weighed:
    grams: int
    known: bool = field(default=True, compare=False)


@pydantic.dataclasses.dataclass
class Checked:
    n: int


class Plain:
    pass


def remembering(seen: int) -> Remembering:
    made = Remembering(n=1)
    made._seen = seen
    return made
