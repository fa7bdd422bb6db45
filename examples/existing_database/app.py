"""library.db with rules: who may read and write what of it. A table without a rule is not served."""

from backstay import Backstay, Config, has_role, me, public, reflect, signed_in

URL = "sqlite:///library.db"
library = reflect(URL)
loans, members = library.tables["loans"].sql.c, library.tables["members"].sql.c
librarian = has_role("librarian")

app = Backstay("library", schema=library, config=Config.from_environment(database_url=URL))
app.resource("authors", read=public, write=librarian)
app.resource("books", read=public, write=librarian)
app.resource("book_authors", read=public, write=librarian)
app.resource("members", read=(members.id == me.id) | librarian, hidden=["email"])
app.resource("loans", read=(loans.member_id == me.id) | librarian, create=signed_in, stamp={"member_id": me.id})
