"""Other processes: by a reference, by a pickle, and by a fork in the middle of use."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest

from lithops.storage import registry
from lithops.storage.base import StorageBackend
from lithops.storage.client import Storage
from lithops.storage.credentials import VARIABLE
from lithops.testing.storage_suite import StorageSuite, needs_registered

_SETUP = """
import os, pickle, signal, sys, warnings
storage = pickle.load(sys.stdin.buffer)
bucket = storage.bucket

def use(storage, key):
    storage.put_object(bucket, key, key * 1000)
    assert storage.get_object(bucket, key) == key.encode() * 1000
    assert key in storage.list_keys(bucket, key)
"""
_FORK = """
from concurrent.futures import ThreadPoolExecutor

with ThreadPoolExecutor(8) as pool:  # its threads are idle, and there, when the process forks
    list(pool.map(lambda number: use(storage, f"thread/{number}"), range(8)))
    stream = storage.get_object(bucket, "large", stream=True)
    first = stream.read(1000)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        use(storage, "child/itself")
        use(pickle.loads(pickle.dumps(storage)), "child/unpickled")
        warnings.simplefilter("ignore", ResourceWarning)  # the stream is the parent's
        sys.exit()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status
    use(storage, "parent/after")
    list(pool.map(lambda number: use(storage, f"again/{number}"), range(8)))
    with stream:
        sys.stdout.buffer.write(first + stream.read())
storage.storage_handler.close()
"""
_FILE = """
def peak_bytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024

use(storage, "small")
before = peak_bytes()
assert storage.upload_file(sys.argv[1], bucket, "huge")
assert storage.download_file(bucket, "huge", sys.argv[1] + ".copy")
print(peak_bytes() - before)
storage.storage_handler.close()
"""


class StorageProcesses(StorageSuite):
    def test_a_reference_leads_another_process_here(self, backend: StorageBackend) -> None:
        reference = backend.reference(self.bucket)
        assert (reference.backend, reference.bucket) == (backend.name, self.bucket)
        assert json.loads(json.dumps(dict(reference.options))) == dict(reference.options)
        needs_registered(backend)
        backend.put(self.bucket, "k", b"found")
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in self._environment(backend).items():
                patch.setenv(variable, value)
            found = registry.from_reference(reference)
        try:
            assert found.default_bucket() == self.bucket
            assert found.get(self.bucket, "k") == b"found"
        finally:
            found.close()

    def test_a_pickle_holds_no_secret(self, storage: Storage) -> None:
        pickled = pickle.dumps(storage)
        for name, secret in self.credentials().items():
            assert str(secret).encode() not in pickled, name

    def test_a_pickled_storage_works_in_a_new_process(self, storage: Storage) -> None:
        needs_registered(storage.storage_handler)
        storage.put_object(self.bucket, "sent", "from here")
        program = """
assert storage.get_object(bucket, "sent") == b"from here"
use(storage, "reply")
use(pickle.loads(pickle.dumps(storage)), "reply/of/its/pickle")
storage.storage_handler.close()
"""
        self._run(storage, program)
        assert storage.list_keys(self.bucket) == ["reply", "reply/of/its/pickle", "sent"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
    def test_a_fork_in_the_middle_of_use(self, storage: Storage) -> None:
        needs_registered(storage.storage_handler)
        data = random.Random(5).randbytes(self.large_bytes)
        storage.put_object(self.bucket, "large", data)
        assert self._run(storage, _FORK) == data
        assert storage.list_keys(self.bucket, "child/") == ["child/itself", "child/unpickled"]

    @pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is looked up in /proc")
    def test_a_huge_file_needs_little_memory(self, storage: Storage, tmp_path: Path) -> None:
        needs_registered(storage.storage_handler)
        path = tmp_path / "huge.bin"
        data = random.Random(6).randbytes(self.huge_bytes)
        path.write_bytes(data)
        grown = int(self._run(storage, _FILE, str(path)))
        assert (tmp_path / "huge.bin.copy").read_bytes() == data
        assert grown < self.file_memory_bytes

    def _run(self, storage: Storage, program: str, *arguments: str) -> bytes:
        """What a new process prints that gets the storage by its pickle. It has to end well."""
        done = subprocess.run(
            [sys.executable, "-W", "error::ResourceWarning", "-c", _SETUP + program, *arguments],
            input=pickle.dumps(storage),
            env={**os.environ, **self._environment(storage.storage_handler)},
            capture_output=True,
            timeout=2 * self.patience_s,
            check=False,
        )
        errors = done.stderr.decode(errors="replace")
        assert done.returncode == 0, errors
        assert "ResourceWarning" not in errors
        return done.stdout

    def _environment(self, backend: StorageBackend) -> dict[str, str]:
        secrets = dict(self.credentials())
        return {VARIABLE: json.dumps({backend.name: secrets})} if secrets else {}
