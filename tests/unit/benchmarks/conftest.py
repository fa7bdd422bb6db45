"""Make the repository's `benchmarks` package importable: it is not part of what gets installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
