"""`User`, the model of people for programs that need no more than an account; declared when it is first used."""

from __future__ import annotations

from ..schema.base import Model
from .user import UserBase


class User(UserBase, Model):
    """Who can sign in."""
