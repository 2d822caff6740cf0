"""What jobs cost: what the ledger says they used, by the price lists of the clouds they ran on."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from lithops.exceptions import InvalidCall
from lithops.future import ResponseFuture
from lithops.ledger import FREE, KINDS, WHOLE_EXECUTOR, JobUse, Ledger
from lithops.storage.prices import REQUEST_PRICES, RequestPrices
from lithops.wire.messages import busy_s

_MB_PER_GB = 1024


@dataclass(frozen=True, slots=True)
class PriceList:
    """Where prices are from."""

    backend: str
    """The name of the backend that they are for."""
    as_of: str
    """The date of the list, as ``2026-11-22``."""
    source: str
    """Where the list is published."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What calls have cost, in US dollars, and what they used for it. Costs can be added up.

    It is a lower bound. Seconds are those that workers measured, from the start of an activation's first call to the
    end of its last, and rounded up as the cloud does: what starting the worker took is not among them, nor is what a
    worker used that died. Requests are those that this library is known to have made. Not counted are: what functions
    do themselves with `storage`, `obj` or a client of their own, how data is looked up and cut before a job, futures
    that were pickled; bytes that are kept or sent over networks; free tiers, discounts and taxes.
    """

    compute: float = 0.0
    """For the seconds of activations."""
    activations: float = 0.0
    """For starting activations."""
    storage: float = 0.0
    """For requests to the storage."""
    seconds: float = 0.0
    """Billed seconds of all activations."""
    gb_seconds: float = 0.0
    """Those seconds times the gigabytes (1024 MB) of memory of their runtimes."""
    activations_n: float = 0.0
    """How many activations; of a part of a job's calls, their share."""
    requests: Mapping[str, float] = field(default_factory=dict, hash=False)
    """How many requests to the storage of each kind: put, get, list, delete."""
    price_lists: tuple[PriceList, ...] = ()
    notes: tuple[str, ...] = ()
    """What is free, and what is not counted since nothing is known of it."""

    @property
    def total(self) -> float:
        """US dollars."""
        return self.compute + self.activations + self.storage

    def __add__(self, other: Cost) -> Cost:
        mine, others = self.requests, other.requests
        return Cost(
            self.compute + other.compute,
            self.activations + other.activations,
            self.storage + other.storage,
            self.seconds + other.seconds,
            self.gb_seconds + other.gb_seconds,
            self.activations_n + other.activations_n,
            _in_order({kind: mine.get(kind, 0) + others.get(kind, 0) for kind in {**mine, **others}}),
            tuple(dict.fromkeys(self.price_lists + other.price_lists)),
            tuple(dict.fromkeys(self.notes + other.notes)),
        )

    def __str__(self) -> str:
        requests = ", ".join(f"{count:,.0f} {kind}" for kind, count in self.requests.items())
        rows = [
            ("compute", f"{self.seconds:,.3f} s, {self.gb_seconds:,.3f} GB s", self.compute),
            ("activations", f"{self.activations_n:,.0f}", self.activations),
            ("storage", requests or "no request", self.storage),
            ("total", "", self.total),
        ]
        width = max(len(used) for _, used, _ in rows)
        # As many digits as tell cheap jobs from free ones.
        digits = 2 if self.total >= 100 else 4 if self.total >= 1 else 8
        lines = [f"{name:<11}  {used:>{width}}  {dollars:>12,.{digits}f} USD" for name, used, dollars in rows]
        lines += [f"prices of {each.backend}: {each.as_of}, {each.source}" for each in self.price_lists]
        return "\n".join([*lines, *self.notes])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def cost_of(ledger: Ledger, futures: Iterable[ResponseFuture] | None = None) -> Cost:
    """What an executor has cost up to now: all of it, or what these of its futures did.

    What the calls of a job share is split among them: what retries and rounding add by their seconds, activations and
    requests evenly. Requests that belong to no single job count only for the executor as a whole.
    Raises `InvalidCall` for futures that are not the executor's.
    """
    jobs = ledger.jobs()
    if futures is None:
        costs = [_of_job(ledger, use, 1.0, 1.0) for use in jobs.values()]
        return sum(costs, Cost()) + priced(ledger, requests=ledger.requests(WHOLE_EXECUTOR))
    cost = Cost()
    for key, some in _by_job(futures).items():
        if key not in jobs:
            raise InvalidCall(
                f"{some[0]!r} is not of this executor: ask the one that made it what it has cost"
            )
        cost += _of_job(ledger, jobs[key], *_shares(jobs[key], some))
    return cost + priced(ledger)


def priced(
    ledger: Ledger,
    use: JobUse | None = None,
    *,
    billed_s: float = 0.0,
    activations: float = 0.0,
    requests: Mapping[str, float] | None = None,
) -> Cost:
    """What that costs, in the runtime of the job `use`, on the backends that the ledger is of."""
    requests = _in_order(requests or {})
    prices = use.prices if use else None
    of_requests = REQUEST_PRICES.get(ledger.storage_name)
    lists = [(ledger.compute_name, prices), (ledger.storage_name, of_requests)]
    return Cost(
        compute=prices.second * billed_s if prices else 0.0,
        activations=prices.activation * activations if prices else 0.0,
        storage=_of_requests(requests, of_requests) if of_requests else 0.0,
        seconds=billed_s,
        gb_seconds=billed_s * use.runtime.memory_mb / _MB_PER_GB if use else 0.0,
        activations_n=activations,
        requests=requests,
        price_lists=tuple(PriceList(name, each.as_of, each.source) for name, each in lists if each),
        notes=tuple(_notes(ledger)),
    )


def _in_order(requests: Mapping[str, float]) -> dict[str, float]:
    return {kind: requests[kind] for kind in KINDS if requests.get(kind)}


def _of_job(ledger: Ledger, use: JobUse, share: float, share_of_seconds: float) -> Cost:
    return priced(
        ledger,
        use,
        billed_s=use.billed_s * share_of_seconds,
        activations=use.activations * share,
        requests={kind: count * share for kind, count in use.requests.items()},
    )


def _of_requests(requests: Mapping[str, float], prices: RequestPrices) -> float:
    dollars: float = sum(getattr(prices, kind) * count for kind, count in requests.items())
    return dollars


def _by_job(futures: Iterable[ResponseFuture]) -> dict[str, list[ResponseFuture]]:
    jobs: dict[str, list[ResponseFuture]] = {}
    for future in dict.fromkeys(futures):
        jobs.setdefault(future.job_key, []).append(future)
    return jobs


def _shares(use: JobUse, futures: list[ResponseFuture]) -> tuple[float, float]:
    """How much of the job these futures are: by their number, and by the seconds of their calls."""
    share = len(futures) / use.calls
    if share == 1 or not use.settled_s:
        return share, share
    statuses = [future.settled_status() for future in futures]
    return share, sum(busy_s(status) for status in statuses if status) / use.settled_s


def _notes(ledger: Ledger) -> Iterator[str]:
    parts = [("functions", ledger.compute_name), ("objects", ledger.storage_name)]
    free = [what for what, name in parts if name == FREE]
    if free:
        yield f"{' and '.join(free)} on this machine cost nothing"
    if ledger.is_priced:
        yield "what clouds bill for starting workers is not measured, and not counted"
    elif ledger.compute_name != FREE:
        yield f"the prices of {ledger.compute_name} are not known: its activations are not counted"
    if ledger.storage_name != FREE and ledger.storage_name not in REQUEST_PRICES:
        yield f"the prices of {ledger.storage_name} are not known: its requests are not counted"
