"""`python -m backstay`."""

from .cli import main

main()
