"""Workers in containers: of any image with the program's Python version, by Docker or Podman.

The engine starts and ends a container, and tells how it ended; everything else goes through named channels, as fast
as to a process of this machine. This library and cloudpickle are mounted into the container, and so are the folders
in which client and worker leave objects for each other. Nothing else of this machine's disk is seen there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from typing import ClassVar

from lithops import constants
from lithops.compute.backends.localhost.channels import Channels, open_named
from lithops.compute.backends.localhost.process import WorkerProcess
from lithops.exceptions import ComputeError, ConfigError
from lithops.wire.messages import StorageRef

logger = logging.getLogger(__name__)

_ENGINES = ("docker", "podman")
_ANSWER_S = 60.0
"""An engine that says nothing for so long is taken for broken."""
_PACKAGES = "/opt/lithops-packages"
"""Where a container finds what is mounted for its worker to import."""
_BOOT = f"""
import os, sys
sys.path.insert(0, "{_PACKAGES}")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, ["{_PACKAGES}", os.environ.get("PYTHONPATH")]))
from lithops.compute.backends.localhost.channels import connect
from lithops.compute.backends.localhost.entry import main
main(connect(sys.argv[1]), sys.argv[2])
"""
"""The image's own PYTHONPATH stays, behind ours."""


class Image:
    """A container image by its name. `environment` is all that its containers get of this machine's."""

    kind: ClassVar[str] = "image"
    needs = "a program python3"

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self._environment = dict(environment)

    def __str__(self) -> str:
        return f"the image '{self.name}'"

    def check(self) -> None:
        """Pull the image if it is not there. May take as long as that takes."""
        engine = self._engine()
        if _ask(engine, "image", "inspect", self.name, timeout_s=_ANSWER_S) is None:
            return
        trouble = _ask(engine, "version", timeout_s=_ANSWER_S)
        if trouble is not None:
            raise ComputeError(
                f"localhost: runtime: the image '{self.name}' cannot be used, because {engine} does not "
                f"work: {trouble}; start its service, and try: {engine} version"
            )
        logger.info("pulling the image %s, which is not on this machine yet", self.name)
        trouble = _ask(engine, "pull", "--quiet", self.name, timeout_s=None)
        if trouble is not None:
            raise ConfigError(
                f"localhost: runtime: found '{self.name}', which is no program on this machine, and no image that "
                f"can be pulled: {trouble}; check the name, or get the image with: {engine} pull {self.name}"
            )

    def start(self, storage: StorageRef) -> WorkerProcess:
        engine, temp = self._engine(), constants.LITHOPS_TEMP_DIR
        os.makedirs(temp, mode=0o700, exist_ok=True)
        name = f"lithops-worker-{os.urandom(6).hex()}"
        folder = f"{temp}/{name}"
        os.mkdir(folder, mode=0o700)
        with contextlib.ExitStack() as undo:
            undo.callback(shutil.rmtree, folder, ignore_errors=True)
            channels, statuses_end = open_named(folder)
            undo.callback(channels.close)
            try:
                popen = subprocess.Popen(
                    [
                        engine,
                        "run",
                        *self._options(engine, name, storage),
                        self.name,
                        "-c",
                        _BOOT,
                        folder,
                        name,
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=channels.output,
                    stderr=channels.output,
                    pass_fds=(statuses_end,),
                    env={**os.environ, **self._environment},
                    start_new_session=True,
                )
            finally:
                os.close(statuses_end)
            undo.pop_all()
        return ContainerProcess(popen, channels, name, engine=engine, folder=folder)

    def close(self) -> None:
        """Nothing to do: containers end with their clients."""

    def _options(self, engine: str, name: str, storage: StorageRef) -> list[str]:
        temp = constants.LITHOPS_TEMP_DIR
        # Podman maps the users of others than root: there, only this keeps the worker's files ours.
        mapped = engine == "podman" and os.getuid() != 0
        user = "--userns=keep-id" if mapped else f"--user={os.getuid()}:{os.getgid()}"
        mounts = [_mount(temp, temp)]
        root = str(storage.options.get("root", "")) if storage.backend == "localhost" else ""
        if root and os.path.commonpath([root, temp]) != temp:
            mounts.append(_mount(root, root))
        mounts += [
            _mount(_folder_of(package), f"{_PACKAGES}/{package}") + ",readonly"
            for package in ("lithops", "cloudpickle")
        ]
        # Values stay off the command line, which everybody may read.
        variables = [f"--env={key}" for key in self._environment]
        return [
            f"--name={name}",
            "--rm",
            # The first process of a container cannot be killed from within, and collects orphans: not a worker's part.
            "--init",
            "--pull=never",
            "--log-driver=none",
            "--network=host",
            # Where SELinux is on, mounts could not be read otherwise; elsewhere it has no effect.
            "--security-opt=label=disable",
            user,
            *mounts,
            *variables,
            "--env=HOME=/tmp",
            f"--env=TMPDIR={tempfile.gettempdir()}",
            "--entrypoint=python3",
        ]

    def _engine(self) -> str:
        for engine in _ENGINES:
            if shutil.which(engine):
                return engine
        raise ConfigError(
            f"localhost: runtime: found '{self.name}', which is no program on this machine; if it is a Python "
            "interpreter, give its path; if it is a container image, install docker or podman, which run it"
        )


class ContainerProcess(WorkerProcess):
    """The engine's client program, which ends as its container does, once that is removed."""

    exit_s = 10.0

    def __init__(
        self, popen: subprocess.Popen[bytes], channels: Channels, name: str, *, engine: str, folder: str
    ) -> None:
        super().__init__(channels, name)
        self._popen = popen
        self._engine = engine
        self._folder = folder
        self._killer: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """Have the container killed soon. One that has not started yet ends by itself: its client is gone."""
        if self._popen.poll() is None and (self._killer is None or self._killer.poll() is not None):
            self._killer = subprocess.Popen(
                [self._engine, "kill", self.name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def wait(self, timeout_s: float) -> int | None:
        try:
            code = self._popen.wait(timeout_s)
            if self._killer is not None:
                self._killer.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        # The engine tells of signals as shells do.
        return 128 - code if code > 128 else code

    def close(self) -> None:
        super().close()
        shutil.rmtree(self._folder, ignore_errors=True)  # the worker has removed it, if there ever was one


def _ask(*command: str, timeout_s: float | None) -> str | None:
    """None if the engine does what it is asked for, else its last words on why it does not."""
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout_s:g} s"
    if answer.returncode == 0:
        return None
    return answer.stderr.strip().rpartition("\n")[2] or f"exit code {answer.returncode}"


def _mount(source: str, target: str) -> str:
    return f"--mount=type=bind,source={source},target={target}"


def _folder_of(package: str) -> str:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return os.path.dirname(spec.origin)
