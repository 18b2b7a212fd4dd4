"""JSON put together as text: it says what the parts say, in whatever spacing they come."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.ledger.json_text import merged, object_of, plain_numbers

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
objects = st.dictionaries(st.text() | st.sampled_from(["a", "b"]), values, max_size=3)
spacings = st.tuples(objects, st.none() | st.integers(0, 2), st.sampled_from(["", " ", "\n\t "])).map(
    lambda parts: (parts[0], f"{parts[2]}{json.dumps(parts[0], indent=parts[1])}{parts[2]}")
)


@given(spacings, spacings)
def test_of_two_objects_it_makes_one_in_which_the_right_one_counts(
    left: tuple[dict[str, Any], str], right: tuple[dict[str, Any], str]
) -> None:
    assert json.loads(merged(left[1], right[1])) == left[0] | right[0]


@pytest.mark.parametrize(("left", "right"), [("{}", "{ }"), (" {\n} ", "{}")])
def test_two_empty_objects_are_an_empty_one(left: str, right: str) -> None:
    assert json.loads(merged(left, right)) == {}


@given(objects)
def test_an_object_is_made_of_values_that_are_json_already(members: dict[str, Any]) -> None:
    assert json.loads(object_of({name: json.dumps(value) for name, value in members.items()})) == members


@given(objects)
def test_numbers_without_an_exponent_are_the_same_numbers(members: dict[str, Any]) -> None:
    # Given compact JSON, as pydantic writes it
    text = json.dumps(members, separators=(",", ":"))
    # When its exponents are written out, then it says the same, and fractions are fractions still
    assert repr(json.loads(plain_numbers(text))) == repr(members)


@pytest.mark.parametrize(
    ("text", "plain"),
    [('[1e16,"1e16",-2.5E-3]', '[10000000000000000.0,"1e16",-0.0025]'), ('{"a,1e5":1e0}', '{"a,1e5":1.0}')],
)
def test_an_exponent_within_a_text_stays_what_it_is(text: str, plain: str) -> None:
    assert plain_numbers(text) == plain
