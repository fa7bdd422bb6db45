"""Backstay: declare SQLAlchemy models and access rules; get a production backend."""
