"""The query string: lists of names."""

import pytest

from backstay.config import Config
from backstay.errors import ValidationError
from backstay.rest.params import parse_aggregate, parse_list

GAPS = ["fields=id,,value", "include=game,", "sort=,id", "sort=--id,,", "fields=,", "include=game,%20,player"]


@pytest.mark.parametrize("text", GAPS)
def test_a_gap_in_a_list_of_names_is_refused(text: str) -> None:
    """The contract has no empty name, so none is passed over."""
    name, _, value = text.replace("%20", " ").partition("=")
    with pytest.raises(ValidationError) as refused:
        parse_list("scores", [(name, value)], Config())
    assert refused.value.errors[0].field == name


@pytest.mark.parametrize(("name", "value"), [("select", "count,,max(value)"), ("select", ","), ("group", "a,")])
def test_a_gap_in_an_aggregate_is_refused(name: str, value: str) -> None:
    """Measures and groups alike."""
    with pytest.raises(ValidationError) as refused:
        parse_aggregate("scores", [(name, value)], Config())
    assert refused.value.errors[0].field == name


@pytest.mark.parametrize("name", ["include", "sort"])
def test_an_empty_list_is_no_gap(name: str) -> None:
    """OpenAPI writes a list without items as `name=`."""
    parsed = parse_list("scores", [(name, "")], Config())
    assert parsed.query == parse_list("scores", [], Config()).query
