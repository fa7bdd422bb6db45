"""Connections and transactions: run a Statement, give back its one row of bytes."""
