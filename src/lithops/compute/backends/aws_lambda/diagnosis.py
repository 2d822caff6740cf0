"""What `lithops doctor` looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lithops.compute.backends.aws_lambda.config import AwsLambdaConfig
from lithops.compute.backends.aws_lambda.connection import Connection, translate_errors
from lithops.compute.backends.aws_lambda.names import PYTHONS, lambda_python
from lithops.compute.backends.aws_lambda.roles import Roles
from lithops.compute.base import Finding
from lithops.exceptions import LithopsError


def diagnose(config: AwsLambdaConfig, connection: Connection, roles: Roles) -> Iterator[Finding]:
    """One finding after the other; what fails does not keep the rest from being looked at, but for the region."""

    def identity() -> str:
        who = connection.identity
        return f"{who['Arn']} of the account {who['Account']}"

    def concurrency() -> str:
        with translate_errors("asking for the limits of the account"):
            limits = connection.client("lambda").get_account_settings()["AccountLimit"]
        allowed = limits["ConcurrentExecutions"]
        advice = (
            f"; max_workers={config.max_workers} is more than that" if allowed < config.max_workers else ""
        )
        return f"{allowed} activations at once{advice}"

    def role() -> str:
        arn = roles.arn
        name = arn.rpartition("/")[2]
        iam = connection.client("iam")
        with translate_errors(f"looking for the role {name}"):
            try:
                document = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
            except iam.exceptions.NoSuchEntityException:
                if roles.is_own:
                    return f"{name}, which is made when the first function is deployed"
                raise
        if "lambda.amazonaws.com" not in str(document):
            raise LithopsError(
                f"{name} cannot be assumed by lambda.amazonaws.com: add that to its trust policy"
            )
        return arn

    def functions() -> str:
        with translate_errors("listing functions"):
            connection.client("lambda").list_functions(MaxItems=1)
        return "can be listed"

    yield _look("Python", own_python_words)
    region = _look("AWS region", lambda: connection.region)
    yield region
    if not region.ok:
        return
    yield _look("AWS identity", identity)
    yield _look("AWS Lambda functions", functions)
    yield _look("AWS Lambda concurrency", concurrency)
    yield _look("role of the functions", role)


def own_python_words() -> str:
    return f"{lambda_python()}; AWS Lambda has {', '.join(PYTHONS)}"


def _look(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except LithopsError as error:
        return Finding(what, False, str(error))
