"""What of pydantic we lean on beyond its documentation."""

from typing import Annotated

import pydantic
from pydantic import Field
from pydantic.fields import FieldInfo

from support.seam_checks import Library

PYDANTIC = Library("pydantic")


@pydantic.dataclasses.dataclass(config={"extra": "allow"})
class Card:
    number: Annotated[str, Field(alias="nummer")]


def test_a_dataclass_has_fields() -> None:
    leans = "masks, which know the aliases in a dataclass of pydantic's"
    field = PYDANTIC.has(Card, "__pydantic_fields__", leans)["number"]
    PYDANTIC.keeps(isinstance(field, FieldInfo) and field.alias == "nummer", "its fields know their aliases", leans)


def test_what_a_dataclass_keeps_beside_its_fields_is_named_so() -> None:
    leans = "what publish() compares, which leaves out what pydantic keeps for itself"
    inner = [name for name in vars(Card(nummer="1")) if name != "number"]
    PYDANTIC.keeps(all(name.startswith("__pydantic") for name in inner), f"all but fields is so called: {inner}", leans)
