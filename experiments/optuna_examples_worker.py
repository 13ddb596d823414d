"""The examples of `optuna_examples.py`, and one process that runs one of them.

python experiments/optuna_examples_worker.py CHECKOUT FILE WAY
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import optuna
from optuna.trial import TrialState

import adbo
from adbo.objective.evaluate import Objective

Direction = Literal["minimize", "maximize"]

#: All ways to run an example.
WAYS = ("optuna", "adbo", "isolate", "mpi")

#: File name of the database, and name of the study in it.
DATABASE, STUDY = "study.db", "example"


def _objective(module: ModuleType) -> Objective:
    objective: Objective = module.objective
    return objective


def _no_callbacks() -> list[Any]:
    return []


@dataclass(frozen=True)
class Example:
    """An objective of optuna-examples, and how to run it.

    Parameters
    ----------
    direction
        Of the study.
    packages
        What it needs, apart from Optuna, as PyPI names it.
    uses
        What it uses of Optuna, or what else is special.
    trials
        Number of trials.
    make
        Makes the objective from the module.
    make_callbacks
        Makes the callbacks of the study.
    ways
        The ways in which it can be run.
    folder
        A folder that its main program makes in the working directory.
    """

    direction: Direction
    packages: tuple[str, ...]
    uses: str
    trials: int = 4
    make: Callable[[ModuleType], Objective] = _objective
    make_callbacks: Callable[[], list[Any]] = _no_callbacks
    ways: tuple[str, ...] = WAYS
    folder: str = "."

    @property
    def needs_program(self) -> bool:
        """Whether the command line cannot run it."""
        return self.make is not _objective or self.make_callbacks is not _no_callbacks


def _of_a_class(module: ModuleType) -> Objective:
    from sklearn.datasets import load_iris

    objective: Objective = module.Objective(load_iris())
    return objective


def _max_trials() -> list[Any]:
    return [optuna.study.MaxTrialsCallback(4, states=(TrialState.COMPLETE,))]


def _terminator() -> list[Any]:
    from optuna.terminator import TerminatorCallback

    return [TerminatorCallback()]


def _mlflow_callback() -> Any:
    from optuna_integration.mlflow import MLflowCallback

    return MLflowCallback(tracking_uri=f"sqlite:///{Path.cwd()}/mlflow-{os.getpid()}.db")


def _tracked(module: ModuleType) -> Objective:
    objective: Objective = _mlflow_callback().track_in_mlflow()(module.objective)
    return objective


def _mlflow() -> list[Any]:
    return [_mlflow_callback()]


def _digits() -> tuple[Any, Any, Any, Any]:
    """Return images of 28 by 28 bytes as those of MNIST: scikit-learn's digits, enlarged."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    large = np.kron(images.reshape(-1, 8, 8) / 16 * 255, np.ones((3, 3)))
    large = np.pad(large, ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    train_x, valid_x, train_y, valid_y = train_test_split(large, labels, random_state=0)
    return train_x, train_y, valid_x, valid_y


def _digits_for_pytorch(module: ModuleType) -> Objective:
    train_x, train_y, valid_x, valid_y = _digits()

    def of_digits(*_: object, train: bool, transform: Callable[[Any], Any], **__: object) -> Any:
        pairs = zip(train_x, train_y, strict=True) if train else zip(valid_x, valid_y, strict=True)
        return [(transform(image[:, :, None]), int(label)) for image, label in pairs]

    module.datasets.FashionMNIST = of_digits
    return _objective(module)


def _digits_for_keras(module: ModuleType) -> Objective:
    train_x, train_y, valid_x, valid_y = _digits()
    module.mnist.load_data = lambda: ((train_x, train_y), (valid_x, valid_y))
    return _objective(module)


_SKLEARN = ("scikit-learn",)
_LIGHTGBM = ("lightgbm", *_SKLEARN)
_XGBOOST = ("xgboost", *_SKLEARN)
_CATBOOST = ("catboost", *_SKLEARN)
_INTEGRATION = "optuna-integration"

#: All examples by file. Further ones download data that nothing here can stand in for, or have
#: several objectives.
EXAMPLES: dict[str, Example] = {
    "basic/quadratic.py": Example("minimize", (), "`suggest_*`"),
    "basic/pruning.py": Example("maximize", _SKLEARN, "`report`, `should_prune`"),
    "basic/artifact_store.py": Example(
        "minimize",
        ("matplotlib", "pandas"),
        "`upload_artifact` to the trial",
        ways=("optuna", "adbo", "isolate"),  # two processes would make the tables of one database
    ),
    "faq/enqueue_trial.py": Example("maximize", _SKLEARN, "processes of joblib"),
    "faq/max_trials_callback.py": Example(
        "minimize", (), "`MaxTrialsCallback` at 4 of 12 trials", 12, make_callbacks=_max_trials
    ),
    "sklearn/sklearn_simple.py": Example(
        "maximize",
        (*_SKLEARN, "mlflow-skinny", _INTEGRATION),
        "`MLflowCallback`, processes of joblib",
        make_callbacks=_mlflow,
    ),
    "sklearn/sklearn_additional_args.py": Example(
        "maximize", _SKLEARN, "an instance of a class", make=_of_a_class
    ),
    "terminator/terminator_simple.py": Example(
        "maximize",
        (*_SKLEARN, "torch"),
        "`report_cross_validation_scores`, `TerminatorCallback`",
        22,
        make_callbacks=_terminator,
    ),
    "lightgbm/lightgbm_terminator.py": Example(
        "maximize",
        (*_LIGHTGBM, "torch"),
        "`report_cross_validation_scores`, `TerminatorCallback`",
        22,
        make_callbacks=_terminator,
    ),
    "lightgbm/lightgbm_simple.py": Example(
        "maximize",
        (*_LIGHTGBM, "mlflow-skinny", _INTEGRATION),
        "decorated with `track_in_mlflow`",
        make=_tracked,
        ways=("optuna", "adbo", "mpi"),  # what the decorator returns cannot be pickled
    ),
    "lightgbm/lightgbm_integration.py": Example(
        "maximize", (*_LIGHTGBM, _INTEGRATION), "`LightGBMPruningCallback`, `trial.study`"
    ),
    "xgboost/xgboost_simple.py": Example("maximize", _XGBOOST, "conditional parameters"),
    "xgboost/xgboost_cv.py": Example(
        "maximize", _XGBOOST, "`set_user_attr`, `trial.number`", folder="xgboost_cv_results"
    ),
    "xgboost/xgboost_integration.py": Example(
        "maximize", (*_XGBOOST, _INTEGRATION), "`XGBoostPruningCallback`"
    ),
    "xgboost/xgboost_cv_integration.py": Example(
        "maximize", (*_XGBOOST, _INTEGRATION, "pandas"), "`XGBoostPruningCallback` in `xgb.cv`"
    ),
    "catboost/catboost_simple.py": Example("maximize", _CATBOOST, "conditional parameters"),
    "catboost/catboost_pruning.py": Example(
        "maximize", (*_CATBOOST, _INTEGRATION), "`CatBoostPruningCallback`"
    ),
    "pytorch/pytorch_simple.py": Example(
        "maximize",
        ("torch", "torchvision"),
        "`report`, `should_prune`; digits of scikit-learn as its data",
        20,
        make=_digits_for_pytorch,
        ways=("optuna", "adbo", "mpi"),  # a process of its own would download the data
    ),
    "keras/keras_simple.py": Example(
        "maximize",
        ("keras", "tensorflow-cpu"),
        "`suggest_categorical`; digits of scikit-learn as its data",
        make=_digits_for_keras,
        ways=("optuna", "adbo", "mpi"),
    ),
    "dask/dask_simple.py": Example("maximize", (*_SKLEARN, "distributed"), "`suggest_*`"),
    "dask_ml/dask_ml_simple.py": Example("maximize", ("dask-ml",), "threads of Dask"),
    "skimage/skimage_lbp_simple.py": Example(
        "maximize", ("scikit-image", *_SKLEARN), "`suggest_*`"
    ),
    "rl/sb3_simple.py": Example(
        "maximize",
        ("stable-baselines3", "torch"),
        "`report` and `should_prune` in a callback, `set_user_attr`",
    ),
}


def main(arguments: Sequence[str]) -> None:
    """Run one example in one way."""
    checkout, file, way = arguments
    example = EXAMPLES[file]
    # As in the file itself, where `python FILE` finds the modules beside it.
    path = Path(checkout, file)
    sys.path.insert(0, str(path.parent))
    objective = example.make(importlib.import_module(path.stem))
    callbacks = example.make_callbacks()
    if way == "optuna":
        _run_optuna(objective, example, callbacks)
    else:
        _run_adbo(objective, example, callbacks, isolate=way == "isolate")


def _run_optuna(objective: Objective, example: Example, callbacks: list[Any]) -> None:
    """Optimize in memory, as the files do, and write the states of the trials to the database."""
    study = optuna.create_study(direction=example.direction)
    study.optimize(objective, example.trials, callbacks=callbacks, catch=Exception)
    written = optuna.create_study(storage=f"sqlite:///{DATABASE}", study_name=STUDY)
    written.add_trials(
        optuna.trial.create_trial(
            state=trial.state, value=0.0 if trial.state is TrialState.COMPLETE else None
        )
        for trial in study.trials
    )


def _run_adbo(objective: Objective, example: Example, callbacks: list[Any], isolate: bool) -> None:
    adbo.optimize(
        objective,
        example.trials,
        storage=f"sqlite:///{DATABASE}",
        study_name=STUDY,
        direction=example.direction,
        callbacks=callbacks,
        isolate=isolate,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
