"""Facts about the database and the rules over it, from declared classes or an existing database."""
