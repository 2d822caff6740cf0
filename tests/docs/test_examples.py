"""The examples are right, and notice when they are not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT

EXAMPLES = ROOT / "examples"


def run(code: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LITHOPS_")}
    environment.update(HOME=str(folder), PYTHONPATH=str(EXAMPLES))
    command = [sys.executable, "-W", "error", *code]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    (folder / "site-packages").mkdir(parents=True)
    (folder / "one.txt").write_text("the cat, THE mat\n" * 1_000)
    (folder / "two.md").write_bytes("a cat\r\nle chat, caf\u00e9".encode())
    (folder / "empty.py").touch()
    (folder / "not.text").write_text("never read")
    (folder / "site-packages" / "other.py").write_text("never read")
    return folder


def test_words_are_counted_over_files_in_parts(texts: Path, tmp_path: Path) -> None:
    done = run([str(EXAMPLES / "word_count.py"), str(texts), "--chunk-size", "1000", "--check"], tmp_path)
    assert done.returncode == 0, done.stderr
    first, *_, totals, calls = done.stdout.splitlines()
    assert first.split() == ["the", "2,000", "49.94%"]
    assert totals == "4,005 words, 7 of them distinct, in 3 files of 17,021 bytes"
    assert calls.startswith("20 calls in "), "17 parts of a file, 2 files, and the reducer"


def test_without_arguments_it_counts_the_standard_library(tmp_path: Path) -> None:
    done = run([str(EXAMPLES / "word_count.py"), "--check"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "self"


def test_a_wrong_count_fails_the_check(texts: Path, tmp_path: Path) -> None:
    program = """
import sys
import word_count
count = word_count.count_words
word_count.count_words = lambda data: count(data + b" one more")  # here, and not on the workers
sys.exit(word_count.main())
"""
    done = run(["-c", program, str(texts), "--check"], tmp_path)
    assert done.returncode == 1
    assert "the check failed" in done.stderr


def test_a_folder_without_text_is_said(tmp_path: Path) -> None:
    done = run([str(EXAMPLES / "word_count.py"), "nowhere"], tmp_path)
    assert done.returncode == 2
    assert "there is no text in nowhere" in done.stderr


def test_pi_is_estimated(tmp_path: Path) -> None:
    done = run([str(EXAMPLES / "pi.py"), "--calls", "100", "--darts", "1000", "--check"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("pi is about 3.1")
    assert "after 100,000 darts\n100 calls in " in done.stdout


def test_a_bad_estimate_fails_the_check(tmp_path: Path) -> None:
    program = """
import sys
import pi
pi.throw_darts = lambda seed, darts: darts
sys.exit(pi.main())
"""
    done = run(["-c", program, "--calls", "10", "--check"], tmp_path)
    assert done.returncode == 1
    assert "the check failed" in done.stderr


@pytest.mark.parametrize("example", sorted(path.name for path in (EXAMPLES / "transparency").glob("*.py")))
def test_other_libraries_give_what_they_give_alone(example: str, tmp_path: Path) -> None:
    done = run([str(EXAMPLES / "transparency" / example), "--check"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    page = (EXAMPLES / "README.md").read_text()
    assert f"(transparency/{example})" in page
