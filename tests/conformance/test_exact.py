"""Numbers and text to the last digit and character, the same from every database."""

from typing import Any

import pytest

from support.api import Api

pytestmark = pytest.mark.anyio

#: `exact` is 0.3, -0.0001, 12345678901.2345, 0.3, 2; `money` 0.1, -3, 9999999999.99, 0.1, 0.
BETWEEN = [
    ("exact=0.30000000000000001", []),
    ("exact[ne]=0.30000000000000001", [1, 2, 3, 4, 5]),
    ("exact[gte]=0.30000000000000001", [3, 5]),
    ("exact[gt]=0.29999999999999999", [1, 3, 4, 5]),
    ("exact[lt]=0.30000000000000001", [1, 2, 4]),
    ("exact[lte]=0.29999999999999999", [2]),
    ("exact[in]=0.3,0.30000000000000001", [1, 4]),
    ("exact[nin]=0.30000000000000001,2", [1, 2, 3, 4]),
    ("exact=0.3000000", [1, 4]),
    ("money[gt]=-3.001", [1, 2, 3, 4, 5]),
    ("money[lt]=-2.999", [2]),
    ("money[lt]=1e30", [1, 2, 3, 4, 5]),
    ("money[gt]=-1e-30", [1, 3, 4, 5]),
]


@pytest.mark.parametrize(("query", "ids"), BETWEEN)
async def test_a_decimal_of_more_digits_lies_between_two(api: Api, query: str, ids: list[int]) -> None:
    """It equals none that the column holds, and is compared exactly."""
    assert await api.ids("/samples", f"{query}&sort=id") == ids


#: `real` is 0.1, -1.5, 1e300, 0.1, 2.5e-10.
SUMS: list[tuple[str, dict[str, Any]]] = [
    ("sum(real),avg(real)&real[lt]=1", {"sum_real": -1.29999999975, "avg_real": -0.3249999999375}),
    ("sum(real)&real=0.1", {"sum_real": 0.2}),
    ("max(real),sum(distinct real)&real[gt]=1", {"max_real": 1e300, "sum_distinct_real": 1e300}),
    ("avg(money)&money[lt]=1", {"avg_money": -0.7}),
    ("avg(exact),sum(exact)&exact[lt]=1", {"avg_exact": 0.19996666666666665, "sum_exact": "0.5999"}),
    ("sum(distinct exact)&exact[lt]=1", {"sum_distinct_exact": "0.2999"}),
    ("avg(small),avg(whole),avg(big)", {}),
]


@pytest.mark.parametrize(("query", "row"), SUMS)
async def test_sums_and_averages_print_alike(api: Api, query: str, row: dict[str, Any]) -> None:
    """Doubles with fifteen digits, decimals exactly, averages of decimals and integers as doubles divide."""
    found = (await api.data("/samples/aggregate", f"select={query}".replace(" ", "%20")))[0]
    assert found == (row or found)


async def test_a_sum_of_doubles_too_large_is_refused(fresh: Api) -> None:
    """There is no JSON number for it."""
    for key in (1, 2):
        await fresh.written("PATCH", f"/samples/{key}", {"real": 1.7e308})
    for measure in ("sum", "avg"):
        problem = await fresh.refused("/samples/aggregate", f"select={measure}(real)", status=400)
        assert problem["code"] == "RESULT_TOO_LARGE"


#: A double, and its one form.
DOUBLES = [
    (1.0, "1"),
    (-0.0, "0"),
    (0.0001, "0.0001"),
    (0.00001, "1e-05"),
    (123456789012345.6, "123456789012345.6"),
    (1e15, "1e+15"),
    (1e22, "1e+22"),
    (1e23, "9.999999999999999e+22"),
    (2.0**53, "9.007199254740992e+15"),
    (2.0**89, "6.189700196426902e+26"),
    (5e-324, "5e-324"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
]


@pytest.mark.parametrize(("value", "shown"), DOUBLES)
async def test_a_double_has_one_form(fresh: Api, value: float, shown: str) -> None:
    """The shortest that names no other double; whole ones have no point, and zero no sign."""
    await fresh.written("PATCH", "/samples/1", {"real": value})
    text = (await fresh.send("GET", "/samples", "id=1&fields=real")).text
    assert f'"real":{shown}}}' in text
    assert await fresh.ids("/samples", f"real={value!r}".replace("+", "%2B")) == [1]


async def test_every_character_is_written_alike(fresh: Api) -> None:
    """Control characters by their escapes, all others as they are."""
    text = "".join(map(chr, range(1, 0x250))) + "\u2028\u2029\ufeff\ufffe\uffff\U0001f600\U0010ffff"
    row = await fresh.written("PATCH", "/samples/1", {"text": text, "doc": {text: text}})
    assert (row["text"], row["doc"]) == (text, {text: text})
    assert await fresh.data("/samples/1") == row
    listed = await fresh.send("GET", "/samples", "id=1&fields=text")
    assert r'"\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\n\u000b\f\r\u000e' in listed.text
