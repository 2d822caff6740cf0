"""Custom runtimes of a ``Dockerfile``: an image in the account's own registry (ECR).

What the Dockerfile makes gets this library's worker as one more layer, so that a Dockerfile needs to know nothing
of it.
"""

from __future__ import annotations

import base64
import io
import logging
import subprocess
import tempfile
import zipfile
from pathlib import Path

from lithops.compute.backends.aws_lambda.config import AwsLambdaConfig
from lithops.compute.backends.aws_lambda.connection import Connection, translate_errors
from lithops.compute.backends.aws_lambda.deploy import HANDLER
from lithops.compute.backends.aws_lambda.names import repository_name
from lithops.compute.serverless.package import Package
from lithops.exceptions import ComputeError

_PLATFORMS = {"x86_64": "linux/amd64", "arm64": "linux/arm64"}
_TAG_LENGTH = 12

_logger = logging.getLogger(__name__)


class ImageStore:
    """The images of this account's custom runtimes."""

    def __init__(self, config: AwsLambdaConfig, connection: Connection) -> None:
        self._config = config
        self._connection = connection

    def find(self, runtime: str, package: Package) -> str | None:
        """The URI of the image that was built under this name, by its content; None: nothing was.

        Raises `ComputeError` if it was built of another release of this library.
        """
        client, name = self._connection.client("ecr"), self._repository(runtime)
        with translate_errors(f"looking for images of the runtime {runtime}"):
            try:
                pages = client.get_paginator("describe_images").paginate(repositoryName=name)
                images = [image for page in pages for image in page["imageDetails"]]
            except client.exceptions.RepositoryNotFoundException:
                return None
        for image in images:
            if self._tag(package) in image.get("imageTags", ()):
                return f"{self._registry()}/{name}@{image['imageDigest']}"
        if not images:
            return None
        raise ComputeError(
            f"the image of the runtime {runtime} was built with another release of this library, or for another "
            f"architecture or storage; run: lithops runtime build -b aws_lambda -f Dockerfile {runtime}"
        )

    def build(self, runtime: str, dockerfile: Path, package: Package) -> str:
        """Build the image and push it; gives its URI."""
        uri = f"{self._registry()}/{self._repository(runtime)}:{self._tag(package)}"
        base = f"lithops-build/{self._repository(runtime)}:{self._config.architecture}"
        platform = ["--platform", _PLATFORMS[self._config.architecture]]
        _docker("build", *platform, "-t", base, "-f", str(dockerfile), str(dockerfile.parent))
        with tempfile.TemporaryDirectory(prefix="lithops-image-") as folder:
            zipfile.ZipFile(io.BytesIO(package.data)).extractall(Path(folder, "worker"))
            Path(folder, "Dockerfile").write_text(second_dockerfile(base))
            _docker(
                "build", *platform, "--provenance=false", "-t", uri, folder, fallback=("--provenance=false",)
            )
        self._log_in(runtime)
        _docker("push", uri)
        return uri

    def remove(self, runtime: str) -> bool:
        """Delete the repository, if there is one."""
        client = self._connection.client("ecr")
        with translate_errors(f"deleting the images of the runtime {runtime}"):
            try:
                client.delete_repository(repositoryName=self._repository(runtime), force=True)
            except client.exceptions.RepositoryNotFoundException:
                return False
        return True

    def _repository(self, runtime: str) -> str:
        return repository_name(self._config.namespace, runtime)

    def _registry(self) -> str:
        return f"{self._connection.account_id()}.dkr.ecr.{self._connection.region}.amazonaws.com"

    def _tag(self, package: Package) -> str:
        return f"{self._config.architecture}-{package.digest[:_TAG_LENGTH]}"

    def _log_in(self, runtime: str) -> None:
        client, name = self._connection.client("ecr"), self._repository(runtime)
        with translate_errors(f"making the repository {name}"):
            try:
                client.create_repository(repositoryName=name)
            except client.exceptions.RepositoryAlreadyExistsException:
                _logger.info("the repository %s exists", name)
            token = client.get_authorization_token()["authorizationData"][0]
        user, _, password = base64.b64decode(token["authorizationToken"]).decode().partition(":")
        endpoint = token.get("proxyEndpoint", self._registry())
        _docker("login", "--username", user, "--password-stdin", endpoint, said=password)


def second_dockerfile(base: str) -> str:
    """Puts the worker into an image, and makes it what Lambda starts."""
    return f'FROM {base}\nCOPY worker/ ${{LAMBDA_TASK_ROOT:-/var/task}}/\nCMD ["{HANDLER}"]\n'


def _docker(*arguments: str, said: str = "", fallback: tuple[str, ...] = ()) -> None:
    """Run docker's command line. `fallback`: options that older releases do not know, and can do without."""
    try:
        done = subprocess.run(["docker", *arguments], input=said, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ComputeError(
            "docker is not installed, and images are built by it: install it, or build the runtime of a "
            "requirements.txt"
        ) from None
    if done.returncode != 0 and fallback and "unknown flag" in done.stderr:
        _docker(*(each for each in arguments if each not in fallback), said=said)
    elif done.returncode != 0:
        raise ComputeError(
            f"'docker {arguments[0]}' failed; correct what it says:\n{done.stderr.strip()[-4000:]}"
        )
