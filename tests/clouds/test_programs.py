"""Whole programs on the clouds' stand-ins, each with its own cloud's storage, and one on two clouds at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aws_fixtures import AwsProgram
from aws_fixtures import aws as aws
from aws_fixtures import aws_program as aws_program
from azure_fixtures import azure as azure
from azure_service import Azure
from google_fixtures import Configure
from google_fixtures import configure as configure
from google_fixtures import google_cloud as google_cloud
from google_fixtures import key as key

import lithops
from lithops import FunctionExecutor

_ROOT = Path(__file__).parents[2]


def count_words(config: Mapping[str, Any]) -> None:
    """The example, as it stands, over this project's documentation; it compares with a plain loop itself."""
    command = [sys.executable, str(_ROOT / "examples" / "word_count.py"), str(_ROOT / "docs"), "--check"]
    counted = subprocess.run(
        [*command, "--chunk-size", "4000"],
        env={**os.environ, "LITHOPS_CONFIG": json.dumps(config)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert counted.returncode == 0, counted.stderr
    assert " words, " in counted.stdout


def test_the_words_are_counted_on_aws(aws_program: AwsProgram) -> None:
    count_words(aws_program.config(namespace="words"))


def test_the_words_are_counted_on_google(configure: Configure) -> None:
    count_words(configure({"namespace": "words"}))


def test_the_words_are_counted_on_azure(azure: Azure) -> None:
    azure.reset()
    count_words(azure_config(azure))


def azure_config(azure: Azure) -> dict[str, Any]:
    return {
        "lithops": {"backend": "azure_functions"},
        "azure": azure.account,
        "azure_storage": azure.storage,
        "azure_functions": {**azure.functions, "max_workers": azure.instances, "namespace": "words"},
    }


def test_one_program_uses_two_clouds_at_once(aws_program: AwsProgram, configure: Configure) -> None:
    calls = 8

    def where(number: int) -> tuple[str, int]:
        import os

        return ("aws" if "AWS_LAMBDA_FUNCTION_NAME" in os.environ else "google"), number

    with (
        FunctionExecutor(config=aws_program.config()) as one,
        FunctionExecutor(config=configure({})) as other,
    ):
        futures = [*one.map(where, range(calls)), *other.map(where, range(calls))]
        results = lithops.get_result(futures, timeout=60)
        assert results == [("aws", n) for n in range(calls)] + [("google", n) for n in range(calls)]
        # And results of one are the arguments of calls in the other.
        chained = other.map(lambda cloud, number: (cloud, number + 1), list(futures[:calls]))
        assert other.get_result(chained, timeout=60) == [("aws", n + 1) for n in range(calls)]
