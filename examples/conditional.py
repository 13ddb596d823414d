r"""Choose a classifier and its parameters, where each classifier has parameters of its own.

    mpiexec -n 4 python -m adbo run examples/conditional.py:objective \
        --direction maximize --trials 100

A parameter that a trial does not ask for does not exist in it. The optimizer looks at each branch
of the space separately, such as all support vector machines with a polynomial kernel.
"""

from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC


def classifier(trial):
    """Return the classifier of a trial."""
    kind = trial.suggest_categorical("classifier", ["svm", "neighbours", "trees"])
    if kind == "neighbours":
        return KNeighborsClassifier(trial.suggest_int("neighbours", 1, 50, log=True))
    if kind == "trees":
        depth = trial.suggest_int("depth", 1, 12)
        return ExtraTreesClassifier(20, max_depth=depth, random_state=0)
    cost = trial.suggest_float("cost", 1e-3, 1e3, log=True)
    kernel = trial.suggest_categorical("kernel", ["rbf", "poly"])
    if kernel == "poly":
        return SVC(C=cost, kernel="poly", degree=trial.suggest_int("degree", 1, 4))
    return SVC(C=cost, gamma=trial.suggest_float("gamma", 1e-4, 1e1, log=True))


def objective(trial):
    """Return the accuracy of a trial's classifier on data that it was not trained with."""
    features, labels = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), classifier(trial))
    return cross_val_score(model, features, labels, cv=3).mean()
