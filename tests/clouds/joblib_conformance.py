"""What the backend for joblib promises on a cloud, whose functions have joblib and numpy from a custom runtime."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any, ClassVar

import joblib
import numpy as np
import pytest
from cloud_batches import double, look, refuse, square
from joblib import Parallel, delayed

from lithops import FunctionExecutor, Storage
from lithops.util.joblib import register_lithops
from lithops.wire.keys import JOBS_PREFIX

RUNTIME = "with-joblib"
REQUIREMENTS = "joblib\nnumpy\n"
LARGE = (500, 500)
"""Two million bytes of float64."""


class JoblibOnACloud:
    """To inherit from. The configuration is that of a fixture `configuration`: it names such a runtime, as a dict."""

    function_name: ClassVar[str]
    """The environment variable in which functions find their name."""

    @pytest.fixture(autouse=True)
    def four_functions(self, configuration: dict[str, Any]) -> Iterator[None]:
        register_lithops()
        with (
            FunctionExecutor(config=configuration, log_level=None) as executor,
            joblib.parallel_config(backend="lithops", n_jobs=4, executor=executor),
        ):
            yield

    def test_batches_run_in_functions(self) -> None:
        assert Parallel(n_jobs=4)(delayed(square)(x) for x in range(20)) == [x * x for x in range(20)]
        assert all(Parallel()(delayed(os.getenv)(self.function_name) for _ in range(4)))
        assert os.getenv(self.function_name) is None, "or it says nothing"

    def test_a_large_array_is_sent_once(self, configuration: dict[str, Any], stored: list[str]) -> None:
        array = np.random.default_rng(7).random(LARGE)
        results = Parallel(batch_size=1)(delayed(look)(array, power) for power in range(8))
        assert results == [(float((array**power).sum()), False) for power in range(8)]
        (key,) = stored
        storage = Storage(configuration)
        assert key not in storage.list_keys(storage.bucket, JOBS_PREFIX)

    def test_arrays_come_back(self) -> None:
        arrays = [np.full(LARGE, number) for number in range(3)]
        doubled = Parallel(batch_size=1)(delayed(double)(array) for array in arrays)
        np.testing.assert_array_equal(doubled, 2 * np.array(arrays))

    def test_an_exception_is_the_functions_own(self) -> None:
        with pytest.raises(ValueError, match="no 3 here") as caught:
            Parallel()(delayed(refuse)(number) for number in (3, 3))
        assert "in refuse" in str(caught.value.__cause__), "the remote traceback"
        self.check_that_the_context_goes_on()

    def test_a_generator_gives_results_in_order_while_others_are_to_come(self) -> None:
        endless = (delayed(square)(x) for x in itertools.count())
        results = Parallel(return_as="generator", batch_size=1)(endless)
        assert list(itertools.islice(results, 12)) == [x * x for x in range(12)]
        with pytest.warns(UserWarning, match="limit unnecessary computation"):
            results.close()
        self.check_that_the_context_goes_on()

    def check_that_the_context_goes_on(self) -> None:
        assert Parallel()(delayed(square)(x) for x in range(3)) == [0, 1, 4]
