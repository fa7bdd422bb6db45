"""SQLite and PostgreSQL answer alike: random schemas, random rows, random requests, the same bytes."""

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from support.asgi import Answer, Client
from support.made import Pairs, draw_aggregate, draw_list, fresh_urls, served
from support.schemas import World, text_of, worlds
from support.twins import same_text

REQUESTS = 6


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A database of each kind, whose tables each example makes anew."""
    return fresh_urls(tmp_path_factory.mktemp("databases"))


def ask(clients: dict[str, Client], world: World, path: str, pairs: Pairs) -> Answer:
    """The one answer of both databases."""
    answers = [client.get(path, pairs) for client in clients.values()]
    texts = [same_text(answer.body, world.json_columns(), now=False) for answer in answers]
    assert texts[0] == texts[1], (path, pairs)
    assert answers[0].status == answers[1].status
    assert answers[0].status in (200, 400, 404)
    return answers[0]


def walk(clients: dict[str, Client], world: World, path: str, pairs: Pairs, key: tuple[str, ...]) -> None:
    """Every page by its cursor holds what is behind the last one, and each row comes once."""
    pairs = [pair for pair in pairs if pair[0] not in ("fields", "page")]
    seen: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = ask(clients, world, path, [*pairs, ("limit", "2"), ("cursor", cursor)])
        if answer.status != 200:
            return
        seen += [tuple(row[name] for name in key) for row in answer.data]
        cursor = answer.meta["next_cursor"]
        assert len(seen) <= 12
    assert len(seen) == len(set(seen))
    whole = ask(clients, world, path, [*pairs, ("limit", "100")])
    assert seen == [tuple(row[name] for name in key) for row in whole.data]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds(), data=st.data())
def test_both_databases_answer_alike(urls: dict[str, str], world: World, data: st.DataObject) -> None:
    """Lists, cursors, items, nested lists and aggregates of any schema: the same status and the same bytes."""
    note(repr([(m.name, m.columns, m.key, m.one, m.many, m.rows) for m in world.models.values()]))
    with served(urls, world) as clients:
        for _ in range(REQUESTS):
            model = data.draw(st.sampled_from(list(world.models.values())))
            pairs = draw_list(data.draw, world, model)
            ask(clients, world, f"/{model.name}", pairs)
            walk(clients, world, f"/{model.name}", pairs, model.key)
            ask(clients, world, f"/{model.name}/aggregate", draw_aggregate(data.draw, world, model))
            if model.rows:
                row = data.draw(st.sampled_from(model.rows))
                path = f"/{model.name}/{','.join(quote(text_of(row[name]), safe='') for name in model.key)}"
                ask(clients, world, path, [])
                for way, name in model.many.items():
                    ask(clients, world, f"{path}/{way}", draw_list(data.draw, world, world.models[name]))
