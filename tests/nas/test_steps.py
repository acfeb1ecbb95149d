"""A gateway that ends before any step of an operation leaves the old object or the new one, and nothing locked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.nas.steps import OPERATIONS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("traits", ["attributes", "bare"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_end_before_any_step_leaves_the_old_or_the_new(operation: str, traits: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.nas.steps", operation, traits], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 5
