"""The workload on FastAPI, SQLAlchemy's async ORM and Pydantic response models, as their manuals teach it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

import jwt
from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import joinedload

from benchmarks.apps.sqlalchemy_models import Game, Score, create_engine

SECRET = os.environ["BENCH_SECRET"]
engine = create_engine()
new_session = async_sessionmaker(engine, expire_on_commit=False)
bearer = HTTPBearer()
Row = TypeVar("Row")


class Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int


class PlayerOut(Out):
    username: str


class GameOut(Out):
    slug: str
    name: str
    created_at: datetime
    updated_at: datetime
    version: int


class ScoreOut(Out):
    game_id: int
    player_id: int
    value: int
    created_at: datetime
    updated_at: datetime
    version: int


class ScoreWithPlayer(ScoreOut):
    player: PlayerOut


class ScoreIn(BaseModel):
    game_id: int
    value: int = Field(ge=0)


class Meta(BaseModel):
    page: int
    limit: int


class CountedMeta(Meta):
    total: int
    pages: int
    has_next: bool
    has_prev: bool


class One(BaseModel, Generic[Row]):
    data: Row


class Many(BaseModel, Generic[Row]):
    data: list[Row]
    meta: Meta


class Counted(BaseModel, Generic[Row]):
    data: list[Row]
    meta: CountedMeta


async def session_of_request() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


async def current_user_id(credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> int:
    try:
        claims = jwt.decode(
            credentials.credentials, SECRET, algorithms=["HS256"], options={"require": ["exp", "sub"]}
        )
        return int(claims["sub"])
    except (jwt.PyJWTError, ValueError) as error:
        raise HTTPException(401, "Invalid token") from error


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()


Session = Annotated[AsyncSession, Depends(session_of_request)]
Limit = Annotated[int, Query(ge=1, le=100)]
Page = Annotated[int, Query(ge=1)]
app = FastAPI(lifespan=lifespan)


@app.get("/api/v1/games/{game_id}", response_model=One[GameOut])
async def one_game(game_id: int, session: Session) -> dict[str, object]:
    game = await session.get(Game, game_id)
    if game is None:
        raise HTTPException(404)
    return {"data": game}


@app.get("/api/v1/games", response_model=Counted[GameOut])
async def page_of_games(session: Session, page: Page = 1, limit: Limit = 20) -> dict[str, object]:
    total = await session.scalar(select(func.count()).select_from(Game)) or 0
    games = await session.scalars(select(Game).order_by(Game.id).limit(limit).offset((page - 1) * limit))
    meta = CountedMeta(
        page=page,
        limit=limit,
        total=total,
        pages=-(-total // limit),
        has_next=page * limit < total,
        has_prev=page > 1,
    )
    return {"data": games.all(), "meta": meta}


@app.get("/api/v1/scores", response_model=Many[ScoreWithPlayer])
async def top_scores(
    session: Session, game_id: int, sort: Literal["value", "-value"] = "-value", limit: Limit = 20
) -> dict[str, object]:
    order = (Score.value.desc(), Score.id.desc()) if sort == "-value" else (Score.value, Score.id)
    scores = await session.scalars(
        select(Score).where(Score.game_id == game_id).order_by(*order).limit(limit).options(joinedload(Score.player))
    )
    return {"data": scores.all(), "meta": Meta(page=1, limit=limit)}


@app.post("/api/v1/scores", status_code=201, response_model=One[ScoreOut])
async def create_score(
    body: ScoreIn, session: Session, user_id: Annotated[int, Depends(current_user_id)]
) -> dict[str, object]:
    score = Score(game_id=body.game_id, player_id=user_id, value=body.value)
    session.add(score)
    try:
        await session.commit()
    except IntegrityError as error:
        raise HTTPException(422, "No such game") from error
    return {"data": score}


@app.get("/health/live")
async def health() -> dict[str, str]:
    return {"status": "ok"}
