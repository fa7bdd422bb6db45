"""The workload on Django REST Framework: model serializers and generic views, settings as for production.

One file holds settings, models, serializers, views and URLs; `application` is the WSGI callable.
"""

import os
from urllib.parse import urlsplit

import django
from django.conf import settings

PRAGMAS = "pragma journal_mode = wal; pragma synchronous = full; pragma cache_size = -65536;"


def database(url: str) -> dict[str, object]:
    """Return Django's settings for the URL; connections stay open."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        options = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": PRAGMAS}
        engine = {"ENGINE": "django.db.backends.sqlite3", "NAME": parts.path.removeprefix("/"), "OPTIONS": options}
    else:
        engine = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": parts.path.removeprefix("/"),
            "USER": parts.username,
            "HOST": parts.hostname,
            "PORT": parts.port,
        }
    return {**engine, "CONN_MAX_AGE": None}


settings.configure(
    DEBUG=False,
    SECRET_KEY=os.environ["BENCH_SECRET"],
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["rest_framework"],
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
    USE_TZ=True,
    DATABASES={"default": database(os.environ["BENCH_DATABASE"])},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    REST_FRAMEWORK={
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_PERMISSION_CLASSES": [],
        "UNAUTHENTICATED_USER": None,
    },
)
django.setup()

import jwt  # noqa: E402  (models and views exist only after django.setup)
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import models  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework import authentication, exceptions, filters, generics, pagination, serializers  # noqa: E402
from rest_framework.decorators import api_view  # noqa: E402
from rest_framework.permissions import SAFE_METHODS, BasePermission  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402


class Row(models.Model):
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    version = models.IntegerField(default=1)

    class Meta:
        abstract = True
        app_label = "bench"


class User(Row):
    username = models.CharField(max_length=150, unique=True)

    class Meta(Row.Meta):
        db_table = "users"


class Game(Row):
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=200)

    class Meta(Row.Meta):
        db_table = "games"
        ordering = ["id"]


class Score(Row):
    game = models.ForeignKey(Game, models.CASCADE)
    player = models.ForeignKey(User, models.CASCADE)
    value = models.PositiveBigIntegerField()

    class Meta(Row.Meta):
        db_table = "scores"
        indexes = [models.Index(fields=["game", "value"])]


class PlayerSerializer(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = ["id", "username"]


class GameSerializer(serializers.ModelSerializer):
    class Meta:
        model = Game
        fields = ["id", "slug", "name", "created_at", "updated_at", "version"]


class ScoreSerializer(serializers.ModelSerializer):
    game_id = serializers.PrimaryKeyRelatedField(source="game", queryset=Game.objects.all())
    player_id = serializers.IntegerField(read_only=True)

    class Meta:
        model = Score
        fields = ["id", "game_id", "player_id", "value", "created_at", "updated_at", "version"]
        read_only_fields = ["version"]


class ScoreWithPlayerSerializer(serializers.ModelSerializer):
    game_id = serializers.IntegerField()
    player_id = serializers.IntegerField()
    player = PlayerSerializer()

    class Meta:
        model = Score
        fields = ["id", "game_id", "player_id", "value", "created_at", "updated_at", "version", "player"]


class TokenUser:
    is_authenticated = True

    def __init__(self, user_id: int) -> None:
        self.id = user_id


class TokenAuthentication(authentication.BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[TokenUser, str] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            return None
        try:
            claims = jwt.decode(
                token, os.environ["BENCH_SECRET"], algorithms=["HS256"], options={"require": ["exp", "sub"]}
            )
            return TokenUser(int(claims["sub"])), token
        except (jwt.PyJWTError, ValueError) as error:
            raise exceptions.AuthenticationFailed from error

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class SignedInToWrite(BasePermission):
    def has_permission(self, request: Request, view: object) -> bool:
        return request.method in SAFE_METHODS or request.user is not None


class CountedPages(pagination.PageNumberPagination):
    page_size = 20
    page_size_query_param = "limit"
    max_page_size = 100

    def get_paginated_response(self, data: list[object]) -> Response:
        page = self.page
        meta = {
            "page": page.number,
            "limit": page.paginator.per_page,
            "total": page.paginator.count,
            "pages": page.paginator.num_pages,
            "has_next": page.has_next(),
            "has_prev": page.has_previous(),
        }
        return Response({"data": data, "meta": meta})


class FirstPage(pagination.BasePagination):
    """The first rows without a total: what case B asks for."""

    def paginate_queryset(self, queryset: models.QuerySet, request: Request, view: object = None) -> list[Score]:
        self.limit = min(int(request.query_params.get("limit", 20)), 100)
        return list(queryset[: self.limit])

    def get_paginated_response(self, data: list[object]) -> Response:
        return Response({"data": data, "meta": {"page": 1, "limit": self.limit}})


class SortFilter(filters.OrderingFilter):
    ordering_param = "sort"


class GameList(generics.ListAPIView):
    queryset = Game.objects.all()
    serializer_class = GameSerializer
    pagination_class = CountedPages


class GameDetail(generics.RetrieveAPIView):
    queryset = Game.objects.all()
    serializer_class = GameSerializer

    def get(self, request: Request, *args: object, **kwargs: object) -> Response:
        return Response({"data": self.get_serializer(self.get_object()).data})


class ScoreList(generics.ListCreateAPIView):
    pagination_class = FirstPage
    filter_backends = [SortFilter]
    ordering_fields = ["value"]
    authentication_classes = [TokenAuthentication]
    permission_classes = [SignedInToWrite]

    def get_queryset(self) -> models.QuerySet:
        return Score.objects.filter(game_id=int(self.request.query_params["game_id"])).select_related("player")

    def get_serializer_class(self) -> type[serializers.ModelSerializer]:
        return ScoreSerializer if self.request.method == "POST" else ScoreWithPlayerSerializer

    def create(self, request: Request, *args: object, **kwargs: object) -> Response:
        response = super().create(request, *args, **kwargs)
        response.data = {"data": response.data}
        return response

    def perform_create(self, serializer: serializers.ModelSerializer) -> None:
        serializer.save(player_id=self.request.user.id)


@api_view(["GET"])
def health(_request: Request) -> Response:
    return Response({"status": "ok"})


urlpatterns = [
    path("api/v1/games", GameList.as_view()),
    path("api/v1/games/<int:pk>", GameDetail.as_view()),
    path("api/v1/scores", ScoreList.as_view()),
    path("health/live", health),
]
application = get_wsgi_application()
