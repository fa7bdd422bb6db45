"""What `GET /{resource}/{key}` may say about the rows that it includes."""

import pytest

from backstay import Config, ValidationError
from backstay.query.ir import Include, OrderKey, Shape
from backstay.rest.params import parse_item


@pytest.mark.parametrize("name", ["sort", "limit", "fields[scores]", "sort[scores]", "limit[gte]", "value"])
def test_item_refuses_what_shapes_nothing(name: str) -> None:
    """Neither paging nor filters, nor the shape of what is not included."""
    with pytest.raises(ValidationError):
        parse_item("games", [(name, "1")], Config(), ["1"])


def test_included_rows_are_sorted_and_cut() -> None:
    """As on lists, and as the contract says."""
    pairs = [("include", "scores"), ("sort[scores]", "-value"), ("limit[scores]", "3"), ("fields[scores]", "value")]
    order = (OrderKey(("value",), True),)
    assert parse_item("games", pairs, Config(), ["1"]).shape == Shape(
        None, (Include("scores", Shape(("value",), ()), order, 3),)
    )
