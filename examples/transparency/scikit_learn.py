"""Search the best random forest for a data set: scikit-learn, unchanged, on the backend of the configuration.

python examples/transparency/scikit_learn.py [--samples NUMBER] [--check]
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import joblib
import numpy as np
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV

from lithops.util.joblib import register_lithops

GRID = {"max_depth": [4, 8], "min_samples_leaf": [1, 5]}


def search(data: Any, labels: Any, n_jobs: int | None) -> GridSearchCV:
    """Cross-validate a forest for each point of the grid; forests are grown in parallel where there is room."""
    forest = RandomForestClassifier(n_estimators=20, random_state=0, n_jobs=n_jobs)
    return GridSearchCV(forest, GRID, cv=3, n_jobs=n_jobs).fit(data, labels)


def main() -> int:
    parser = argparse.ArgumentParser(description="Search the best random forest for a generated data set.")
    parser.add_argument("--samples", type=int, default=2_000, metavar="NUMBER", help="how many samples")
    parser.add_argument("--check", action="store_true", help="fail unless the plain program finds the same")
    args = parser.parse_args()
    # Large enough to be put into the storage, once for all calls.
    data, labels = make_classification(args.samples, n_features=100, n_informative=10, random_state=0)

    register_lithops()
    started = time.perf_counter()
    with joblib.parallel_config(backend="lithops", n_jobs=-1):
        found = search(data, labels, n_jobs=None)
    print(f"the best of {len(found.cv_results_['params'])} forests: {found.best_params_}")
    print(f"its score is {found.best_score_:.4f}, after {time.perf_counter() - started:.2f} s")

    if args.check:
        plain = search(data, labels, n_jobs=1)
        same = (
            found.best_params_ == plain.best_params_
            and np.array_equal(found.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"])
            and np.array_equal(found.predict(data), plain.predict(data))
        )
        if not same:
            print("the check failed: the plain program finds something else", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
