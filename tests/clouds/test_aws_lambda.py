"""AWS Lambda keeps the promises of every compute backend, on AWS's own runtime, a stand-in around it, and SeaweedFS."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from aws_fixtures import AwsProgram
from aws_fixtures import aws as aws
from aws_fixtures import aws_program as aws_program

from lithops import FunctionExecutor
from lithops.testing.compute import ComputeConformance


class OnLambda(ComputeConformance):
    has_lithops: ClassVar[bool] = False
    invocation: ClassVar[str]
    program: AwsProgram

    @pytest.fixture(autouse=True)
    def use_cloud(self, aws_program: AwsProgram) -> None:
        self.program = aws_program

    def make_executor(self, tmp_path: Path, **section: Any) -> FunctionExecutor:
        return self.program.executor(lithops=section, invocation=self.invocation)


class TestConformanceOfDirectCalls(OnLambda):
    invocation = "direct"


class TestConformanceOfEvents(OnLambda):
    invocation = "event"
    many_calls = 100


class TestConformanceOfBoth(OnLambda):
    invocation = "auto"
