"""What every storage backend promises, as tests. A backend's author inherits them::

    class TestMyStorage(StorageConformance):
        def make_backend(self, tmp_path):
            return MyStorage(MyConfig(...))

Nothing else has to be overridden. A storage that is slow, or allows fewer names, narrows the attributes. One that asks
who comes also gives `make_denied_backend`, `make_stranger_backend` and `credentials`: see `storage_suite`.
"""

from __future__ import annotations

from lithops.testing.storage_bodies import StorageBodies
from lithops.testing.storage_client import StorageClient
from lithops.testing.storage_keys import StorageKeys
from lithops.testing.storage_processes import StorageProcesses
from lithops.testing.storage_refusals import StorageRefusals
from lithops.testing.storage_sharing import StorageSharing


class StorageConformance(
    StorageBodies, StorageKeys, StorageRefusals, StorageSharing, StorageProcesses, StorageClient
):
    """Inherit this, and override `make_backend`."""
