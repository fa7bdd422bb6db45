"""SQL with line breaks for people: only white space between tokens changes."""

import re

_TOKEN = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|[()]|[^\s()'\"]+|\s+")
#: Words that open a line; what follows a parenthesis is a line deeper.
_BREAKS = (
    "SELECT",
    "FROM",
    "WHERE",
    "ORDER",
    "GROUP",
    "LIMIT",
    "LEFT",
    "JOIN",
    "UNION",
    "SET",
    "VALUES",
    "RETURNING",
)


def pretty(sql: str) -> str:
    """One clause a line, subqueries indented.

    Example:
        >>> print(pretty("SELECT a FROM (SELECT b FROM c) AS d"))
        SELECT a
        FROM (
          SELECT b
          FROM c) AS d
    """
    out: list[str] = []
    depths: list[bool] = []
    previous = ""
    tokens = [token for token in _TOKEN.findall(sql) if not token.isspace() or token]
    for token in tokens:
        if token.isspace():
            if previous and not out[-1].endswith((" ", "\n")):
                out.append(" ")
            continue
        if token == "(":
            depths.append(False)
        elif token == ")":
            depths.pop()
        opens = token in _BREAKS and not (token == "JOIN" and previous in ("LEFT", "OUTER"))
        if opens and token == "SELECT" and depths:
            depths[-1] = True
        if opens and out and (all(depths[-1:])):
            while out and out[-1] == " ":
                out.pop()
            out.append("\n" + "  " * sum(depths))
        out.append(token)
        previous = token
    return "".join(out).strip()
