"""Shared short-lived state, in this process or in Valkey, behind one small protocol."""
