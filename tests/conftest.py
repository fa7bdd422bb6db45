"""For every folder of tests: how assertions tell what they compared, and what generated tests draw.

The suite draws the same examples each time, so that a commit passes or fails once and for all; `make explore` draws
new ones, and what it finds becomes a test of its own.
"""

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("support")
settings.register_profile("suite", derandomize=True, database=None, print_blob=False)
settings.register_profile("explore", derandomize=False, print_blob=True)
settings.load_profile("suite")
