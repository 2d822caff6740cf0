"""The role under which functions run: the one that the configuration names, or one that is made."""

from __future__ import annotations

import json

from lithops.compute.backends.aws_lambda.config import AwsLambdaConfig
from lithops.compute.backends.aws_lambda.connection import Connection, code_of, is_denied, translate_errors
from lithops.compute.backends.aws_lambda.policies import TRUST, of_functions
from lithops.exceptions import ComputeError

_OWN_ROLE = "lithops-functions"


class Roles:
    """Finds the role's ARN, and makes the role where the configuration names none."""

    def __init__(self, config: AwsLambdaConfig, connection: Connection, storage: str) -> None:
        self._config = config
        self._connection = connection
        self._storage = storage

    @property
    def arn(self) -> str:
        """The role's ARN, whether it exists or not."""
        named = self._config.execution_role or self._own_name
        if named.startswith("arn:"):
            return named
        return f"arn:aws:iam::{self._connection.account_id()}:role/{named}"

    @property
    def is_own(self) -> bool:
        """Whether the role is ours to make."""
        return self._config.execution_role is None

    @property
    def _own_name(self) -> str:
        # One for each kind of rights: a role that changed would take rights from functions that run.
        parts = [
            _OWN_ROLE,
            self._storage.replace("_", "-") if self._storage == "aws_s3" else "",
            "vpc" if self._config.vpc else "",
            "efs" if self._config.efs else "",
            self._connection.region,
        ]
        return "-".join(filter(None, parts))

    def ensure(self) -> str:
        """The ARN of a role that exists. Raises `ComputeError`, which says what to ask for."""
        if not self.is_own:
            return self.arn
        iam, name = self._connection.client("iam"), self._own_name
        try:
            with translate_errors(f"looking for the role {name}"):
                return str(iam.get_role(RoleName=name)["Role"]["Arn"])
        except ComputeError as error:
            cause = error.__cause__
            if is_denied(cause):
                raise self._may_not(error) from error
            if code_of(cause) != "NoSuchEntity":
                raise
        return self._create(name)

    def rights(self) -> dict[str, object]:
        """What the role has to be allowed."""
        return of_functions(
            self._connection.account_id(),
            self._connection.region,
            storage=self._storage,
            vpc=bool(self._config.vpc),
            efs=bool(self._config.efs),
        )

    def _create(self, name: str) -> str:
        iam = self._connection.client("iam")
        try:
            with translate_errors(f"making the role {name}"):
                try:
                    role = iam.create_role(
                        RoleName=name,
                        AssumeRolePolicyDocument=json.dumps(TRUST),
                        Description="What functions of Lithops may do",
                    )["Role"]
                except iam.exceptions.EntityAlreadyExistsException:  # another program was faster
                    role = iam.get_role(RoleName=name)["Role"]
                iam.put_role_policy(
                    RoleName=name, PolicyName="lithops", PolicyDocument=json.dumps(self.rights())
                )
        except ComputeError as error:
            raise (self._may_not(error) if is_denied(error.__cause__) else error) from error
        return str(role["Arn"])

    def _may_not(self, error: ComputeError) -> ComputeError:
        return ComputeError(
            "functions on AWS Lambda run under a role. The configuration names none (aws_lambda.execution_role), and "
            "these credentials may not make one. Ask whoever looks after the account for a role that "
            f"lambda.amazonaws.com may assume, with this policy:\n{json.dumps(self.rights(), indent=2)}\n"
            f"and set aws_lambda.execution_role to its name. AWS said: {error}"
        )
