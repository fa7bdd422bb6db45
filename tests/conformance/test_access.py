"""Rules: rows that one may not see are in no list, count, filter, sort, include, aggregate or nested route."""

import pytest

from support.api import Api

pytestmark = pytest.mark.anyio

LISTS = [
    ("/payments", "", "ada", [1, 2]),
    ("/payments", "", "bob", [3]),
    ("/payments", "", "chloé", []),
    ("/payments", "", "nobody", []),
    ("/payments", "", "admin", [1, 2, 3]),
    ("/payments", "", "", []),
    ("/payments", "amount[gt]=1", "ada", [1]),
    ("/payments", "or=(id=1,id=3)", "bob", [3]),
    ("/payments", "or=(payer_id=1,payer_id=2)", "", []),
    ("/teams", "", "ada", [1]),
    ("/teams", "", "bob", [1, 2]),
    ("/teams", "", "chloé", []),
    ("/teams", "", "admin", [1, 2, 3]),
    ("/teams", "", "", []),
    ("/teams", "members.user.username=bob", "ada", [1]),
    ("/members", "team.name=blue", "ada", []),
    ("/members", "team.name=blue", "bob", [3]),
    ("/members", "team.name[ne]=red", "", []),
    ("/members", "team.id[is]=null", "", []),
    ("/users", "payments.amount[gt]=0", "", []),
    ("/users", "payments.amount[gt]=0", "ada", [1]),
    ("/users", "payments.amount[gt]=0", "bob", [2]),
    ("/users", "payments.amount[gt]=0", "admin", [1, 2]),
    ("/users", "boss.payments.id[gt]=0", "ada", [2, 3]),
    ("/users", "boss.payments.id[gt]=0", "chloé", []),
    ("/users/1/payments", "", "ada", [1, 2]),
    ("/users/1/payments", "", "bob", []),
    ("/users/1/payments", "", "", []),
]


@pytest.mark.parametrize(("path", "query", "who", "ids"), LISTS)
async def test_a_list_holds_what_one_may_see(api: Api, path: str, query: str, who: str, ids: list[int]) -> None:
    """So does its total, its pages by cursor and its count; one statement."""
    assert await api.ids(path, f"{query}&sort=id", who=who) == ids
    assert (await api.read(path, query, who=who))["meta"]["total"] == len(ids)
    body = await api.read(path, f"{query}&cursor=&limit=100", who=who)
    assert [row["id"] for row in body["data"]] == ids


ITEMS = [
    ("/payments/1", {"ada": 200, "bob": 404, "admin": 200, "": 404, "nobody": 404}),
    ("/teams/2", {"ada": 404, "bob": 200, "admin": 200, "": 404}),
    ("/teams/2/members", {"ada": 404, "bob": 200, "admin": 200, "": 404}),
]


@pytest.mark.parametrize(("path", "statuses"), ITEMS)
async def test_a_row_that_one_may_not_see_is_404(api: Api, path: str, statuses: dict[str, int]) -> None:
    """The same answer as for a row that is not there, but for its key."""
    for who, status in statuses.items():
        response = await api.send("GET", path, who=who)
        assert response.status_code == status, (who, response.text)


async def test_an_invisible_row_is_not_told_from_an_absent_one(api: Api) -> None:
    """Reads, changes and deletes answer alike."""
    for method, body in (("GET", None), ("HEAD", None)):
        hidden = await api.send(method, "/payments/3", who="ada", json=body)
        absent = await api.send(method, "/payments/9", who="ada", json=body)
        assert (hidden.status_code, hidden.text.replace("/3", "/9").replace("'3'", "'9'")[:150]) == (
            absent.status_code,
            absent.text[:150],
        )


async def test_included_rows_are_those_one_may_see(api: Api) -> None:
    """To-one null, to-many without them."""
    for who, names in (("ada", ["red", "red", None]), ("bob", ["red", "red", "blue"]), ("", [None] * 3)):
        members = await api.data("/members", "include=team&sort=id", who=who)
        assert [member["team"] and member["team"]["name"] for member in members] == names
    for who, ids in (("ada", [1, 2]), ("bob", []), ("", [])):
        user = await api.data("/users/1", "include=payments&fields[payments]=id", who=who)
        assert [payment["id"] for payment in user["payments"]] == ids


async def test_an_order_does_not_tell_of_invisible_rows(api: Api) -> None:
    """A path to a row that one may not see sorts as absent, whatever the row holds."""
    for sort, ids in (("team.name", [1, 2, 3]), ("-team.name", [3, 2, 1])):
        assert await api.ids("/members", f"sort={sort},{sort[:1] if sort[0] == '-' else ''}id") == ids
    assert await api.ids("/members", "sort=team.name,id", who="ada") == [1, 2, 3]
    assert await api.ids("/members", "sort=team.name,id", who="bob") == [3, 1, 2]


async def test_aggregates_count_what_one_may_see(api: Api) -> None:
    """Rows, groups along relations, and measures of what is at their end."""
    for who, count, total in (("ada", 2, "10.5001"), ("bob", 1, "99999999999.9999"), ("", 0, None)):
        rows = await api.data("/payments/aggregate", "select=count,sum(amount)", who=who)
        assert rows == [{"count": count, "sum_amount": total}]
    rows = await api.data("/members/aggregate", "group=team.name&select=count", who="ada")
    assert rows == [{"team.name": "red", "count": 2}, {"team.name": None, "count": 1}]
    assert await api.data("/members/aggregate", "select=max(team.name)") == [{"max_team_name": None}]


async def test_a_principal_whose_id_is_no_number_matches_nobody(api: Api) -> None:
    """`me.id` that the column cannot hold equals no row."""
    assert await api.ids("/payments", "", who="nobody") == []
    response = await api.send("POST", "/scores", who="nobody", json={"game_id": 1, "value": 1})
    assert response.status_code in (400, 403, 409)
