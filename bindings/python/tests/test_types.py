"""The types that the package states are those that it has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typed
import zkinfer

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parent / "pyproject.toml"
# What the operating system and the interpreter need, and none of the caller's settings for mypy.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("MYPY")}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """What mypy has read of numpy once."""
    return str(tmp_path_factory.mktemp("mypy"))


def run(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_typed_program(tmp_path, cache):
    pytest.importorskip("mypy")
    out = run("-m", "mypy", "--config-file", str(CONFIG), "--cache-dir", cache, str(HERE / "typed.py"), cwd=tmp_path)
    assert "no issues found" in out
    assert 0 <= typed.main() <= 9


def test_wrong_types_are_found(tmp_path, cache):
    """Control: mypy does see the package's types."""
    pytest.importorskip("mypy")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import zkinfer\n"
        "zkinfer.compile(1, 2, bits='x')\n"
        "zkinfer.verify('a', 'b').outptu\n"
        "zkinfer.Limits(5)\n"
        "zkinfer.nothing\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(CONFIG), "--cache-dir", cache, str(wrong)],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    for line in (2, 3, 4, 5):
        assert f"wrong.py:{line}: error" in done.stdout, done.stdout


def test_stubs_and_module_agree(tmp_path):
    pytest.importorskip("mypy")
    out = run("-m", "mypy.stubtest", "zkinfer", "--mypy-config-file", str(CONFIG), cwd=tmp_path)
    assert "no issues found" in out


def test_everything_is_documented():
    for name in zkinfer.__all__:
        thing = getattr(zkinfer, name)
        if name.startswith("__"):
            continue
        assert thing.__doc__, name
        if isinstance(thing, type):
            for member, value in vars(thing).items():
                if not member.startswith("_"):
                    assert value.__doc__, f"{name}.{member}"
