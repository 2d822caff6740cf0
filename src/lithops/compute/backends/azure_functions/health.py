"""Which activations are dead: what Azure has recorded of them, and the messages that it has put aside."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping, Sequence

from lithops.compute.backends.azure_functions.cloud import Cloud
from lithops.compute.backends.azure_functions.records import Records, failure_of
from lithops.compute.base import ComputeError
from lithops.wire.messages import Failure, FailureKind

logger = logging.getLogger(__name__)

_MINUTES = 60
_KEPT = 10_000


class Health:
    """Remembers what has been asked before. Safe in threads."""

    def __init__(self) -> None:
        self._activations: dict[str, str] = {}
        """Failed executions, and the activations that they were of."""
        self._complained = False
        self._lock = threading.Lock()

    def dead(
        self, cloud: Cloud, apps: Collection[str], activation_ids: Sequence[str], *, messages: bool
    ) -> Mapping[str, Failure]:
        """Those of the activations that have died; what cannot be asked is logged once."""
        ids = set(activation_ids)
        found: dict[str, Failure] = {}
        for app in apps:
            try:
                records = cloud.records()
                if records is not None:
                    found |= self._recorded(records, app, ids, messages=messages)
                if messages:
                    aside = cloud.queues.dead(app, ids) - found.keys()
                    found |= {each: _put_aside(app, each) for each in aside}
            except ComputeError as error:
                self.complain(error)
        return found

    def complain(self, error: ComputeError) -> None:
        """Health is asked for every few seconds: what is wrong is said once."""
        if not self._complained:
            self._complained = True
            logger.warning("why activations die cannot be found out: %s", error)

    def _recorded(self, records: Records, app: str, ids: set[str], *, messages: bool) -> dict[str, Failure]:
        deaths = records.deaths(app, _MINUTES)
        if not messages:
            return {death.operation: failure_of(death.words) for death in deaths if death.operation in ids}
        with self._lock:
            new = {death.operation for death in deaths} - self._activations.keys() - {""}
            if new:
                self._activations |= records.activations_of(new)
            while len(self._activations) > _KEPT:
                del self._activations[next(iter(self._activations))]
            named = [(self._activations.get(death.operation, ""), death.words) for death in deaths]
        return {activation: failure_of(words) for activation, words in named if activation in ids}


def failure_unrecorded(app: str, activation_id: str, status: int) -> Failure:
    """The failure of an activation that ended with this HTTP status, of which Azure's records have nothing (yet)."""
    text = (
        f"the activation died: the function app '{app}' answered {status}; Application Insights has nothing of it yet: "
        f"look for the operation_Id {activation_id} in some minutes; if it may have needed more memory, set "
        "runtime_memory"
    )
    return Failure(FailureKind.LOST, FailureKind.LOST.value, text)


def _put_aside(app: str, activation_id: str) -> Failure:
    text = (
        f"the activation {activation_id} died: Azure has put its message aside, into the queue '{app}-poison'; if it "
        "may have needed more memory, set runtime_memory"
    )
    return Failure(FailureKind.LOST, FailureKind.LOST.value, text)
