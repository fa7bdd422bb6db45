"""The workload on Litestar, advanced-alchemy repositories and msgspec structs, as their manuals teach it."""

import os
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from advanced_alchemy.extensions.litestar import (
    AsyncSessionConfig,
    SQLAlchemyAsyncConfig,
    SQLAlchemyInitPlugin,
)
from advanced_alchemy.filters import LimitOffset, OrderBy
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from advanced_alchemy.service import SQLAlchemyAsyncRepositoryService
from litestar import Litestar, Request, get, post
from litestar.di import Provide
from litestar.params import Parameter
from litestar.security.jwt import JWTAuth, Token
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from benchmarks.apps.sqlalchemy_models import Game, Score, create_engine

Row = TypeVar("Row")


class PlayerOut(msgspec.Struct):
    id: int
    username: str


class GameOut(msgspec.Struct):
    id: int
    slug: str
    name: str
    created_at: datetime
    updated_at: datetime
    version: int


class ScoreOut(msgspec.Struct):
    id: int
    game_id: int
    player_id: int
    value: int
    created_at: datetime
    updated_at: datetime
    version: int


class ScoreWithPlayer(ScoreOut):
    player: PlayerOut


class ScoreIn(msgspec.Struct):
    game_id: int
    value: Annotated[int, msgspec.Meta(ge=0)]


class Meta(msgspec.Struct):
    page: int
    limit: int


class CountedMeta(Meta):
    total: int
    pages: int
    has_next: bool
    has_prev: bool


class One(msgspec.Struct, Generic[Row]):
    data: Row


class Many(msgspec.Struct, Generic[Row]):
    data: list[Row]
    meta: Meta


class GameService(SQLAlchemyAsyncRepositoryService[Game]):
    class Repository(SQLAlchemyAsyncRepository[Game]):
        model_type = Game

    repository_type = Repository


class ScoreService(SQLAlchemyAsyncRepositoryService[Score]):
    class Repository(SQLAlchemyAsyncRepository[Score]):
        model_type = Score

    repository_type = Repository


async def provide_games(db_session: AsyncSession) -> AsyncIterator[GameService]:
    async with GameService.new(session=db_session) as service:
        yield service


async def provide_scores(db_session: AsyncSession) -> AsyncIterator[ScoreService]:
    async with ScoreService.new(session=db_session, load=[joinedload(Score.player)]) as service:
        yield service


async def user_of_token(token: Token, _connection: Any) -> int | None:
    return int(token.sub) if token.sub.isdecimal() else None


auth = JWTAuth[int](retrieve_user_handler=user_of_token, token_secret=os.environ["BENCH_SECRET"])
Limit = Annotated[int, Parameter(ge=1, le=100)]


@get("/api/v1/games/{game_id:int}")
async def one_game(game_id: int, games: GameService) -> One[GameOut]:
    return One(games.to_schema(await games.get(game_id), schema_type=GameOut))


@get("/api/v1/games")
async def page_of_games(
    games: GameService, page: Annotated[int, Parameter(ge=1)] = 1, limit: Limit = 20
) -> Many[GameOut]:
    rows, total = await games.list_and_count(LimitOffset(limit, (page - 1) * limit), OrderBy("id"))
    meta = CountedMeta(page, limit, total, -(-total // limit), page * limit < total, page > 1)
    return Many(games.to_schema(rows, schema_type=GameOut).items, meta)


@get("/api/v1/scores")
async def top_scores(
    scores: ScoreService, game_id: int, sort: Literal["value", "-value"] = "-value", limit: Limit = 20
) -> Many[ScoreWithPlayer]:
    order = "desc" if sort == "-value" else "asc"
    rows = await scores.list(LimitOffset(limit, 0), OrderBy("value", order), OrderBy("id", order), game_id=game_id)
    return Many(scores.to_schema(rows, schema_type=ScoreWithPlayer).items, Meta(1, limit))


@post("/api/v1/scores", middleware=[auth.middleware])
async def create_score(data: ScoreIn, request: Request[int, Token, Any], db_session: AsyncSession) -> One[ScoreOut]:
    async with ScoreService.new(session=db_session) as scores:
        values = {"game_id": data.game_id, "value": data.value, "player_id": request.user}
        score = await scores.create(values, auto_commit=True, auto_refresh=False)
        return One(scores.to_schema(score, schema_type=ScoreOut))


@get("/health/live")
async def health() -> dict[str, str]:
    return {"status": "ok"}


database = SQLAlchemyAsyncConfig(
    engine_instance=create_engine(), session_config=AsyncSessionConfig(expire_on_commit=False)
)
app = Litestar(
    route_handlers=[one_game, page_of_games, top_scores, create_score, health],
    dependencies={"games": Provide(provide_games), "scores": Provide(provide_scores)},
    plugins=[SQLAlchemyInitPlugin(config=database)],
    openapi_config=None,
)
