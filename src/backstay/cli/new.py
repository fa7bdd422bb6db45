"""`backstay new`: a small app that runs as it is, its README and its .gitignore."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from ..errors import OperatorError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\Z")

APP = '''"""Books and their reviews: the models, and who may do what."""

from typing import Annotated

from backstay import Backstay, Model, has_role, me, public, signed_in
from pydantic import Field
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship


class Book(Model):
    title: Mapped[str]
    reviews: Mapped[list["Review"]] = relationship(back_populates="book")


class Review(Model):
    book_id: Mapped[int] = mapped_column(ForeignKey("books.id"))
    reviewer: Mapped[str]
    stars: Mapped[Annotated[int, Field(ge=1, le=5)]]
    book: Mapped[Book] = relationship(back_populates="reviews")


app = Backstay("{name}")
app.resource(Book, read=public, write=has_role("editor"))
app.resource(Review, read=public, create=signed_in, stamp={{Review.reviewer: me.id}})
'''

README = """# {name}

`app.py` declares the models and the rules. While you change it, let the server follow:

```shell
backstay serve --dev
```

It restarts when a file changes, applies safe changes of the models to `backstay.db` and keeps each as a file in
`migrations/`. The reference of every endpoint is at <http://127.0.0.1:8000/docs>.

Writing takes a token, here for the principal `ada` with the role that may add books:

```shell
TOKEN=$(backstay token ada --role editor)
curl -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
     -d '{{"title": "Emma"}}' http://127.0.0.1:8000/api/v1/books
```

Elsewhere, apply the migrations and serve without `--dev`, with a secret of your own:

```shell
export BACKSTAY_SECRET=$(python -c 'import secrets; print(secrets.token_urlsafe(48))')
backstay db migrate
backstay serve
```
"""

IGNORED = """.venv/
.backstay/
__pycache__/
*.db
*.db-shm
*.db-wal
"""

NEXT = """made {folder}/ with app.py, README.md and .gitignore. Next:

  cd {folder}
  backstay serve --dev
"""


def create_project(name: str) -> None:
    """Make the folder and its files, and say what to do next.

    Raises:
        OperatorError: a name that is none, or a folder that holds something already.
    """
    folder = Path(name)
    if not _NAME.match(folder.name):
        raise OperatorError(f"{name!r} is no project name: start with a letter, go on with letters, digits, - and _.")
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise OperatorError(f"{folder} is not empty: choose another name, or an empty folder.")
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in (("app.py", APP), ("README.md", README)):
            (folder / file).write_text(text.format(name=folder.name), encoding="utf-8")
        (folder / ".gitignore").write_text(IGNORED, encoding="utf-8")
    except OSError as error:
        raise OperatorError(f"Cannot make {error.filename or folder} ({error.strerror}).") from None
    sys.stdout.write(NEXT.format(folder=folder))
