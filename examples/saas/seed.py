"""Sample data, the same on every run: two organisations, five people who share a password, projects and tasks."""

from collections.abc import Callable, Iterable

from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import insert
from sqlalchemy.orm import Session

from backstay import Model

PASSWORD = "correct horse battery staple"
ORGANIZATIONS = {"analytical": "Analytical Engines", "enigma": "Enigma Works"}
#: Name, and the role in each organisation.
PEOPLE = {
    "ada": ("Ada Lovelace", {"analytical": "owner"}),
    "charles": ("Charles Babbage", {"analytical": "admin"}),
    "mary": ("Mary Somerville", {"analytical": "member", "enigma": "member"}),
    "alan": ("Alan Turing", {"enigma": "owner"}),
    "joan": ("Joan Clarke", {"enigma": "admin"}),
}
PROJECTS = {"analytical": ("Difference Engine", "Notes on the Engine"), "enigma": ("Bombe", "Hut 8")}

Progress = Callable[[Iterable[str], str], Iterable[str]]


def fill(session: Session, progress: Progress) -> None:
    """Insert everything in one transaction."""
    tables = Model.metadata.tables
    organizations = {slug: number for number, slug in enumerate(ORGANIZATIONS, 1)}
    people = {name: number for number, name in enumerate(PEOPLE, 1)}
    password = Argon2Hasher().hash(PASSWORD)
    session.execute(insert(tables["organizations"]), [{"slug": s, "name": n} for s, n in ORGANIZATIONS.items()])
    for name in progress(list(PEOPLE), "people"):
        full_name, roles = PEOPLE[name]
        user = {"username": name, "email": f"{name}@example.org", "password_hash": password}
        session.execute(insert(tables["users"]), [user])
        session.execute(insert(tables["profiles"]), [{"user_id": people[name], "name": full_name}])
        for slug, role in roles.items():
            row = {"tenant_id": organizations[slug], "user_id": people[name], "role": role}
            session.execute(insert(tables["memberships"]), [row])
    made = [{"tenant_id": organizations[slug], "name": name} for slug, names in PROJECTS.items() for name in names]
    session.execute(insert(tables["projects"]), made)
    tasks = [
        {"tenant_id": row["tenant_id"], "project_id": number, "author_id": 1 if number <= 2 else 4, "title": title}
        for number, row in enumerate(made, 1)
        for title in (f"Plan {row['name']}", f"Build {row['name']}")
    ]
    session.execute(insert(tables["tasks"]), tasks)
