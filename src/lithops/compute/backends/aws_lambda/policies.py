"""Rights, as AWS's own JSON: what functions may do, what their user has to be allowed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_VERSION = "2012-10-17"

TRUST = {
    "Version": _VERSION,
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
"""Lets Lambda run functions under a role."""

_NETWORK = [
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
]


def of_functions(account: str, region: str, *, storage: str, vpc: bool, efs: bool) -> dict[str, Any]:
    """What functions need: their logs; with the storage `aws_s3`, to read buckets, and to write to the account's."""
    logs = f"arn:aws:logs:{region}:{account}:log-group:/aws/lambda/lithops-*"
    statements = [
        _allow(["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], [logs, f"{logs}:*"])
    ]
    if storage == "aws_s3":
        own = {"StringEquals": {"s3:ResourceAccount": account}}
        statements += [
            _allow(["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"], ["arn:aws:s3:::*"]),
            {
                **_allow(["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"], ["arn:aws:s3:::*"]),
                "Condition": own,
            },
        ]
    if vpc:
        statements.append(_allow(_NETWORK, ["*"]))
    if efs:
        statements.append(_allow(["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"], ["*"]))
    return _document(statements)


def of_user(account: str, region: str, role: str, *, storage: str) -> dict[str, Any]:
    """What whoever deploys and calls functions needs. `role` is the ARN of the functions' role."""
    functions = [f"arn:aws:lambda:{region}:{account}:{kind}:lithops-*" for kind in ("function", "layer")]
    functions.append(f"arn:aws:lambda:{region}:{account}:layer:lithops-*:*")
    statements = [
        _allow(
            [
                "lambda:CreateFunction",
                "lambda:DeleteFunction",
                "lambda:DeleteLayerVersion",
                "lambda:GetFunctionConfiguration",
                "lambda:GetLayerVersion",
                "lambda:InvokeFunction",
                "lambda:ListLayerVersions",
                "lambda:PublishLayerVersion",
                "lambda:PutFunctionEventInvokeConfig",
                "lambda:TagResource",
            ],
            functions,
        ),
        _allow(["lambda:GetAccountSettings", "lambda:ListFunctions", "lambda:ListLayers"], ["*"]),
        _allow(["iam:GetRole", "iam:PassRole", "iam:CreateRole", "iam:PutRolePolicy"], [role]),
        _allow(
            ["logs:FilterLogEvents"],
            [f"arn:aws:logs:{region}:{account}:log-group:/aws/lambda/lithops-*:*"],
        ),
        _allow(["ecr:GetAuthorizationToken"], ["*"]),
        _allow(
            [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:CompleteLayerUpload",
                "ecr:CreateRepository",
                "ecr:DeleteRepository",
                "ecr:DescribeImages",
                "ecr:DescribeRepositories",
                "ecr:GetDownloadUrlForLayer",
                "ecr:GetRepositoryPolicy",
                "ecr:InitiateLayerUpload",
                "ecr:PutImage",
                "ecr:SetRepositoryPolicy",
                "ecr:UploadLayerPart",
            ],
            [f"arn:aws:ecr:{region}:{account}:repository/lithops/*"],
        ),
    ]
    if storage == "aws_s3":
        statements.append(
            _allow(
                [
                    "s3:AbortMultipartUpload",
                    "s3:CreateBucket",
                    "s3:DeleteObject",
                    "s3:GetObject",
                    "s3:ListBucket",
                    "s3:PutObject",
                ],
                ["arn:aws:s3:::lithops-*"],
            )
        )
    return _document(statements)


def _allow(actions: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def _document(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": _VERSION, "Statement": statements}


Policy = Mapping[str, Any]
