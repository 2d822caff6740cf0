"""From a user's call to a job that can be sent: everything that can be wrong is found here, before anything is sent.

::

    function, elements ─► Binder ─► partition ─► ArgumentSerializer ─► capture ─► Uploader ─► Job
                          bind.py   partition.py  serialize.py         modules.py  upload.py   job.py
"""

from __future__ import annotations

import hashlib
import itertools
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lithops.compute.base import ComputeBackend, RuntimeInfo
from lithops.config.model import Settings
from lithops.exceptions import DataLimitExceeded, InvalidCall, StorageError
from lithops.future import ResponseFuture
from lithops.job import FutureOwner, Job, JobInfo, RetryPolicy
from lithops.ledger import Ledger
from lithops.prepare.bind import Binder
from lithops.prepare.modules import capture
from lithops.prepare.options import DataOptions, JobOptions, as_names
from lithops.prepare.partition import Piece, partition
from lithops.prepare.serialize import ArgumentSerializer, serialize_function
from lithops.prepare.upload import Uploader
from lithops.storage.base import StorageBackend
from lithops.wire.arguments import Arguments
from lithops.wire.failures import error_of
from lithops.wire.ids import job_key
from lithops.wire.messages import Binding, Blob, Call, CallStatus, JobSpec
from lithops.wire.pickles import Buffer, size

_MIB = 1 << 20

Segments = list[Buffer]


class Preparer:
    """Makes the jobs of one executor."""

    def __init__(
        self,
        executor: Any,
        owner: FutureOwner,
        settings: Settings,
        *,
        compute: ComputeBackend,
        storage: StorageBackend,
        bucket: str,
        ledger: Ledger,
        env: Mapping[str, str],
    ) -> None:
        # Futures keep their executor alive, but it must not be kept alive by what it consists of.
        self._executor = weakref.ref(executor)
        self._executor_id: str = executor.executor_id
        self._owner = owner
        self._settings = settings.lithops
        self._compute = compute
        self._runtime: str = getattr(settings.compute, "runtime", "")
        self._runtime_memory: int = getattr(settings.compute, "runtime_memory", 0)
        self._storage = storage
        self._bucket = bucket
        self._env = env
        self.uploader = Uploader(self._executor_id, storage, bucket, limits=compute.limits, ledger=ledger)
        """Where its jobs' bytes go."""
        self._runtimes: dict[int, RuntimeInfo] = {}
        self._numbers = itertools.count()

    @property
    def has_prepared(self) -> bool:
        """Whether there may be anything of these jobs in the storage."""
        return bool(self._runtimes)

    # ------------------------------------------------------------ three kinds of job

    def call(self, binder: Binder, data: Any, options: JobOptions) -> Job:
        """A job of one call."""
        job, _ = self.calls(binder, [data], DataOptions(), options, letter="A")
        job.info.single = True
        return job

    def calls(
        self,
        binder: Binder,
        elements: Iterable[Any],
        data: DataOptions,
        options: JobOptions,
        *,
        letter: str = "M",
    ) -> tuple[Job, list[int]]:
        """A job with one call for each element, or for each part of the data that elements name.

        Also gives, for each call, the number of the object that it reads a part of.
        """
        created, started = time.time(), time.perf_counter()
        self._check_reserved(binder)
        if data.obj_format is not None and not binder.declares_obj:
            raise InvalidCall(
                f"obj_format is '{data.obj_format}', but '{binder.function_name}' has no parameter obj: "
                "add it, it stands for a part of the data"
            )
        pieces: list[Piece] = []
        bound: Iterable[Arguments] = map(binder.bind, elements, itertools.count())
        if binder.declares_obj:
            bound, pieces = self._partitioned(list(bound), data)
            if letter == "A" and len(pieces) != 1:
                names = ", ".join(piece.part.name for piece in pieces[:3])
                raise InvalidCall(
                    f"the data names {len(pieces)} objects ({names}, ...), which are as many calls: use map"
                )
        serializer = ArgumentSerializer()
        bodies = self._serialize(bound, serializer)
        job = self._job(
            self._new_id(letter), binder, options, len(bodies), modules_seen=serializer.modules_seen
        )
        uploading = time.perf_counter()
        key = job.spec.job_key
        blobs = self.uploader.arguments(bodies, key)
        job.calls = [Call(index, (blob,)) for index, blob in enumerate(blobs)]
        ended = time.perf_counter()
        stats = job.info.stats
        stats["host_job_create_tstamp"] = created
        stats["host_job_created_time"] = ended - started
        stats["host_job_serialize_time"] = uploading - started - stats["host_func_upload_time"]
        stats["host_data_upload_time"] = ended - uploading
        stats["func_data_size_bytes"] = sum(map(size, bodies))
        return job, [piece.source for piece in pieces]

    def following(self, binder: Binder, extra_args: Any, count: int, options: JobOptions) -> Job:
        """A job whose calls each get an earlier call's result as their element: the worker binds it."""
        self._check_reserved(binder, of_results=True)
        return self._job(
            self._new_id("M"), binder, options, count, binding=Binding.ELEMENT, extra_args=extra_args
        )

    def collecting(
        self, mapping: Job, binder: Binder, extra_args: Any, count: int, options: JobOptions
    ) -> Job:
        """A job whose calls each get a list of results of the job `mapping`: reducers. It bears that job's number."""
        job_id = f"R{mapping.info.job_id[1:]}"
        return self._job(job_id, binder, options, count, binding=Binding.COLLECTED, extra_args=extra_args)

    def check_reducer(self, binder: Binder, extra_args: Any) -> None:
        """Raises what preparing its job would: before anything of the map is stored."""
        binder.bind([])
        self._check_reserved(binder, of_results=True)
        serialize_function(binder.function, modules_seen=set())
        self._serialize_extra(extra_args, set())

    # ------------------------------------------------------------ the parts of a job

    def _new_id(self, letter: str) -> str:
        return f"{letter}{next(self._numbers):03d}"

    def _job(
        self, job_id: str, binder: Binder, options: JobOptions, count: int, *,
        binding: Binding = Binding.BOUND, extra_args: Any = None, modules_seen: Iterable[str] = (),
    ) -> Job:  # fmt: skip
        created, started = time.time(), time.perf_counter()
        timeout_s = float(options.timeout or self._settings.execution_timeout)
        memory = options.runtime_memory or self._runtime_memory
        runtime = self._ready_runtime(memory, timeout_s)
        seen = set(modules_seen)
        extra = self._serialize_extra(extra_args, seen)
        function = serialize_function(binder.function, modules_seen=seen)
        include, exclude = self._modules_wanted(options)
        captured = capture(seen, include=include, exclude=exclude)
        archive = captured.archive
        serialized = time.perf_counter()
        content = hashlib.sha256(b"\0".join([function, captured.content_hash.encode(), extra or b""]))
        spec = JobSpec(
            job_key=job_key(self._executor_id, job_id),
            function=self.uploader.content(function),
            function_hash=content.hexdigest(),
            storage=self._storage.reference(self._bucket),
            timeout_s=timeout_s,
            inline_limit=self._compute.limits.inline_bytes,
            modules=None if archive is None else self.uploader.content(archive),
            modules_hash=captured.content_hash,
            binding=binding,
            extra=None if extra is None else self.uploader.content(extra),
            reserved=binder.reserved,
            placing=() if binding is Binding.BOUND else binder.placing,
            env={**self._env, **(options.extra_env or {})},
        )
        retries = self._settings.retries if options.retries is None else options.retries
        info = JobInfo(
            executor_id=self._executor_id,
            job_id=job_id,
            job_key=spec.job_key,
            function_name=binder.function_name,
            runtime_memory=memory,
            storage=spec.storage,
            owner=self._owner,
            last_attempt=retries + options.speculative,
            give_up_s=self._settings.execution_timeout + self._compute.limits.startup_s,
            stats={
                "host_job_create_tstamp": created,
                "host_job_created_time": time.perf_counter() - started,
                "host_func_upload_time": time.perf_counter() - serialized,
                "host_job_serialize_time": serialized - started,
                "host_data_upload_time": 0.0,
                "func_data_size_bytes": 0,
                "func_module_size_bytes": len(function) + len(archive or b""),
            },
            executor=self._executor(),
        )
        return Job(
            info,
            spec,
            runtime,
            [ResponseFuture(info, index) for index in range(count)],
            calls_per_task=options.chunksize or self._settings.chunksize,
            max_concurrency=options.max_concurrency,
            retry=RetryPolicy(retries, self._retry_filter(options)),
            backoff_s=options.backoff,
            speculative=options.speculative,
        )

    def _partitioned(
        self, bound: Sequence[Arguments], data: DataOptions
    ) -> tuple[list[Arguments], list[Piece]]:
        pieces = partition(
            [kwargs["obj"] for _, kwargs in bound],
            storage=self._storage,
            chunk_size=data.obj_chunk_size,
            chunk_number=data.obj_chunk_number,
            newline=data.obj_newline,
            format_name=data.obj_format,
        )
        return [
            (bound[piece.element][0], {**bound[piece.element][1], "obj": piece.part}) for piece in pieces
        ], pieces

    def _serialize(self, bound: Iterable[Arguments], serializer: ArgumentSerializer) -> list[Segments]:
        limit = self._settings.data_limit
        bodies: list[Segments] = []
        total = 0
        for position, arguments in enumerate(bound):
            body = serializer.dumps(arguments, position)
            total += size(body)
            if limit and total > limit * _MIB:
                raise DataLimitExceeded(
                    f"the input data is more than {limit:g} MiB with element {position}: put large data into storage "
                    "and pass its name, or raise lithops: data_limit in the configuration (false: no limit)"
                )
            bodies.append(body)
        return bodies

    def _serialize_extra(self, extra_args: Any, modules_seen: set[str]) -> bytes | None:
        """`extra_args` for a worker that binds by itself."""
        if not extra_args:
            return None
        segments = ArgumentSerializer(modules_seen=modules_seen).dumps(((extra_args,), {}))
        return b"".join(segments)

    def _modules_wanted(self, options: JobOptions) -> tuple[list[str] | None, list[str]]:
        include = as_names(options.include_modules)
        if include == []:
            include = self._settings.include_modules
        return include, [*self._settings.exclude_modules, *(as_names(options.exclude_modules) or ())]

    def _ready_runtime(self, memory_mb: int, timeout_s: float) -> RuntimeInfo:
        if memory_mb not in self._runtimes:
            self._storage.ensure_bucket(self._bucket)
            self._runtimes[memory_mb] = self._compute.deploy(self._runtime, memory_mb, timeout_s)
        return self._runtimes[memory_mb]

    def _retry_filter(self, options: JobOptions) -> Callable[[CallStatus], bool]:
        retry_on = options.retry_on
        if retry_on is None:
            return lambda status: status.failure is not None

        def applies(status: CallStatus) -> bool:
            failure = status.failure
            if failure is None:
                return False
            blob: Blob | None = failure.exception
            try:
                error = error_of(failure, None if blob is None else bytes(self._owner.read(blob)))
            except StorageError:
                return True  # what cannot be looked at now is rather tried once too often
            if isinstance(retry_on, type | tuple):
                return isinstance(error, retry_on)
            return bool(retry_on(error))

        return applies

    def _check_reserved(self, binder: Binder, *, of_results: bool = False) -> None:
        if of_results and binder.declares_obj:
            raise InvalidCall(
                f"'{binder.function_name}' has a parameter obj, which stands for data by name, but it is called with "
                "results of other calls; give the parameter another name"
            )
        if "ibm_cos" in binder.reserved and self._storage.name != "ibm_cos":
            raise InvalidCall(
                f"'{binder.function_name}' has a parameter ibm_cos, which stands for a client of IBM's object storage, "
                f"but the storage is '{self._storage.name}'; use the parameter `storage` instead, or rename this one"
            )
