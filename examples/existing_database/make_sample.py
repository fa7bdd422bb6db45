"""Create library.db, a database as one finds them: made by hand, years ago, with plain SQL.

It has composite keys, a many-to-many table, a view, a table without a key, and dates kept as text.
"""

import sqlite3
import sys
from pathlib import Path

TABLES = """
CREATE TABLE authors (id INTEGER PRIMARY KEY, name TEXT NOT NULL, born INTEGER);
CREATE TABLE books (
    isbn TEXT PRIMARY KEY NOT NULL,
    title TEXT NOT NULL,
    published INTEGER,
    price NUMERIC(8, 2)
);
CREATE TABLE book_authors (
    isbn TEXT NOT NULL REFERENCES books (isbn),
    author_id INTEGER NOT NULL REFERENCES authors (id),
    PRIMARY KEY (isbn, author_id)
);
CREATE TABLE members (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    joined DATE NOT NULL
);
CREATE TABLE loans (
    id INTEGER PRIMARY KEY,
    isbn TEXT NOT NULL REFERENCES books (isbn),
    member_id INTEGER NOT NULL REFERENCES members (id),
    lent DATE NOT NULL DEFAULT CURRENT_DATE,
    returned DATE,
    CHECK (returned IS NULL OR returned >= lent)
);
CREATE TABLE visits (at DATETIME NOT NULL, door TEXT NOT NULL);
CREATE VIEW on_loan AS
    SELECT loans.id, books.title, members.name AS member, loans.lent
    FROM loans JOIN books ON books.isbn = loans.isbn JOIN members ON members.id = loans.member_id
    WHERE loans.returned IS NULL;
"""

ROWS = {
    "authors": [
        (1, "Mary Shelley", 1797),
        (2, "Jules Verne", 1828),
        (3, "Terry Pratchett", 1948),
        (4, "Neil Gaiman", 1960),
    ],
    "books": [
        ("9780141439471", "Frankenstein", 1818, 8.99),
        ("9780140449266", "Around the World in Eighty Days", 1872, 7.50),
        ("9780552137034", "Good Omens", 1990, 9.99),
        ("9780552166591", "The Colour of Magic", 1983, None),
    ],
    "book_authors": [
        ("9780141439471", 1),
        ("9780140449266", 2),
        ("9780552137034", 3),
        ("9780552137034", 4),
        ("9780552166591", 3),
    ],
    "members": [(1, "Ada", "ada@example.org", "2025-03-01"), (2, "Grace", "grace@example.org", "2025-06-12")],
    "loans": [
        (1, "9780552137034", 1, "2026-10-02", "2026-10-20"),
        (2, "9780141439471", 1, "2026-11-03", None),
        (3, "9780552137034", 2, "2026-11-09", None),
    ],
    "visits": [("2026-11-09 10:15:00", "north"), ("2026-11-09 10:15:00", "north"), ("2026-11-09 11:02:30", "south")],
}


def main(path: Path) -> None:
    """Write the file anew."""
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        connection.executescript(TABLES)
        for table, rows in ROWS.items():
            connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    connection.close()
    print(f"made {path} with {sum(map(len, ROWS.values()))} rows in {len(ROWS)} tables")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "library.db"))
