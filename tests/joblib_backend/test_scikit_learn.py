"""scikit-learn, unchanged: what it finds in a context of ours is what it finds alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from parallel_backends import context
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline

DATA, LABELS = make_classification(600, n_features=200, n_informative=10, random_state=0)
"""Nearly a million bytes: stored, as the arrays of the folds are not."""


@pytest.fixture(scope="module", autouse=True)
def lithops_context(nothing_left_behind: None) -> Iterator[None]:
    with context("lithops"):
        yield


class Scale(TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """An estimator of a local module."""

    def __init__(self, by: Any = 1.0) -> None:
        self.by = by

    def fit(self, data: Any, labels: Any = None) -> Scale:
        return self

    def transform(self, data: Any) -> Any:
        return data * self.by


def forest(n_jobs: int | None) -> RandomForestClassifier:
    return RandomForestClassifier(n_estimators=10, max_depth=4, random_state=0, n_jobs=n_jobs)


def test_forests() -> None:
    grown, plain = forest(2).fit(DATA, LABELS), forest(1).fit(DATA, LABELS)
    # Threads add up what the trees say, in any order.
    np.testing.assert_allclose(grown.predict_proba(DATA), plain.predict_proba(DATA))


def test_a_search_over_a_grid() -> None:
    grid = {"max_depth": [2, 4]}

    def search(n_jobs: int) -> Any:
        return GridSearchCV(forest(1), grid, cv=3, n_jobs=n_jobs).fit(DATA, LABELS)

    found, plain = search(2), search(1)
    assert found.best_params_ == plain.best_params_
    np.testing.assert_array_equal(found.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(found.predict(DATA), plain.predict(DATA))


def test_forests_within_a_cross_validation() -> None:
    found = cross_validate(forest(2), DATA, LABELS, cv=3, n_jobs=2, return_estimator=True)
    plain = cross_validate(forest(1), DATA, LABELS, cv=3, n_jobs=1)
    np.testing.assert_array_equal(found["test_score"], plain["test_score"])
    assert [len(each.estimators_) for each in found["estimator"]] == [10] * 3


def test_a_search_within_a_cross_validation() -> None:
    def search(n_jobs: int) -> Any:
        return GridSearchCV(LogisticRegression(max_iter=500), {"C": [0.1, 1.0]}, cv=2, n_jobs=n_jobs)

    found = cross_validate(search(2), DATA, LABELS, cv=2, n_jobs=2)
    plain = cross_validate(search(1), DATA, LABELS, cv=2, n_jobs=1)
    np.testing.assert_allclose(found["test_score"], plain["test_score"])


def test_estimators_of_one_s_own() -> None:
    pipeline = make_pipeline(Scale(0.1), LogisticRegression(max_iter=500))
    found = cross_validate(pipeline, DATA, LABELS, cv=2, n_jobs=2)["test_score"]
    np.testing.assert_allclose(found, cross_validate(pipeline, DATA, LABELS, cv=2)["test_score"])


def test_an_error_of_a_fit_is_raised() -> None:
    with pytest.raises(ValueError, match="broadcast") as caught:
        cross_validate(make_pipeline(Scale([]), forest(1)), DATA, LABELS, cv=2, n_jobs=2, error_score="raise")
    assert "in transform" in str(caught.value.__cause__)
