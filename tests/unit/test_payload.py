"""Bodies: how whole numbers may be written."""

import pytest

from backstay.errors import ValidationError
from backstay.query.payload import Action, Contract
from support.fuzzed import ARCADE, arcade


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    """What a new score must be."""
    app = arcade(ARCADE.own("sqlite", tmp_path_factory.mktemp("payload")))
    return Contract(app.catalog().resources["scores"], Action.CREATE)


REFUSED = [
    (b'{"game_id":1.0,"value":2.5}', {"value"}),
    (b'{"game_id":1.0,"value":1.00000000000000000000001}', {"value"}),
    (b'{"game_id":1.0,"value":-2.0}', {"value"}),
    (b'{"game_id":9223372036854775808.0,"value":1}', {"game_id"}),
    (b'{"game_id":1e300,"value":1}', {"game_id"}),
    (b'{"game_id":1e400,"value":1}', {"game_id"}),
    (b'{"game_id":1e99999999999,"value":1}', {"game_id"}),
    (b'{"game_id":"1.0","value":true}', {"game_id", "value"}),
]


@pytest.mark.parametrize(("body", "fields"), REFUSED)
def test_what_is_no_integer_in_range_is_refused(contract: Contract, body: bytes, fields: set[str]) -> None:
    """A fraction, a number out of range, a text: each field at fault is named, and no other."""
    with pytest.raises(ValidationError) as refused:
        contract.validate(body)
    assert {error.field for error in refused.value.errors} == fields


WHOLE = [
    (b'{"game_id":1.0,"value":-0.0}', 1, 0),
    (b'{"game_id":1e3,"value":1E18}', 1_000, 10**18),
    (b'{"game_id":9007199254740993.0,"value":2}', 2**53 + 1, 2),
    (b'{"game_id":9223372036854775807.0,"value":0e9}', 2**63 - 1, 0),
]


@pytest.mark.parametrize(("body", "game_id", "value"), WHOLE)
def test_a_whole_number_may_have_a_point(contract: Contract, body: bytes, game_id: int, value: int) -> None:
    """To JSON Schema 7.0 is an integer; it is read as its text stands, not as the nearest double."""
    found = contract.validate(body)
    assert found == {"game_id": game_id, "value": value}
    assert all(type(number) is int for number in found.values())
