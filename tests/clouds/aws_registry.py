"""ECR's other half: the registry to which images are pushed, Debian's `docker-registry` on a port of this machine.

An engine that has it as its proxy finds it under ECR's own name, and over HTTP. It asks for the user and the password
that moto's ECR gives away.
"""

from __future__ import annotations

import base64
import json
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aws_control import ACCOUNT
from aws_fixtures import Aws
from server import answers, free_ports, missing, running

_LOGIN = "AWS", f"{ACCOUNT}-auth-token"
_HASHED = "AWS:$2b$04$nKkwpLgfAmw1XtWOcjznQuzvhtun0kXFuDEfBqcPjY4UnlgeY9CMy\n"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
_HTTP_S = 10.0


@dataclass(frozen=True)
class Registry:
    port: int
    host: str
    """ECR's name for it."""

    @property
    def options_of_engine(self) -> list[str]:
        return [f"--insecure-registry={self.host}"]

    @property
    def environment_of_engine(self) -> dict[str, str]:
        """All that the engine asks of any registry, it asks of this one: over HTTPS in vain, and then over HTTP."""
        proxy = f"http://127.0.0.1:{self.port}"
        names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
        return {**dict.fromkeys(names, proxy), "NO_PROXY": "", "no_proxy": ""}

    def tell(self, aws: Aws) -> list[str]:
        """Let moto's ECR, which has no registry, know of all that was pushed. The images, as ``NAME:TAG@DIGEST``."""
        ecr, told = aws.client("ecr"), []
        for name in json.loads(self._get("_catalog")[0])["repositories"]:
            for tag in json.loads(self._get(f"{name}/tags/list")[0])["tags"]:
                manifest, headers = self._get(f"{name}/manifests/{tag}")
                digest = headers["Docker-Content-Digest"]
                ecr.put_image(
                    repositoryName=name,
                    imageTag=tag,
                    imageDigest=digest,
                    imageManifest=manifest.decode(),
                    imageManifestMediaType=headers["Content-Type"],
                )
                told.append(f"{name}:{tag}@{digest}")
        return told

    def _get(self, path: str) -> tuple[bytes, Any]:
        who = base64.b64encode(":".join(_LOGIN).encode()).decode()
        headers = {"Authorization": f"Basic {who}", "Accept": _MANIFEST}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v2/{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=_HTTP_S) as answer:
            return answer.read(), answer.headers


@contextmanager
def running_registry(folder: Path, region: str = Aws.region) -> Iterator[Registry]:
    """The registry while it runs."""
    if shutil.which("docker-registry") is None:
        missing("docker-registry", "apt install docker-registry")
    (port,) = free_ports(1)
    (folder / "users").write_text(_HASHED)
    settings = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "auth": {"htpasswd": {"realm": "ECR", "path": str(folder / "users")}},
    }
    # JSON is YAML.
    (folder / "settings.yml").write_text(json.dumps(settings))
    command = ["docker-registry", "serve", str(folder / "settings.yml")]
    with running(command, ready=lambda: answers(port), log=folder / "log"):
        yield Registry(port, f"{ACCOUNT}.dkr.ecr.{region}.amazonaws.com")
