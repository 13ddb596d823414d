"""Train a convolutional network in Keras.

With Optuna:             python examples/keras_objective.py
With adbo on four ranks: mpiexec -n 4 python -m adbo run \
    examples/keras_objective.py:objective --direction maximize --trials 100

It has the parameters of the example keras_simple in Optuna's repository of examples. The images
are scikit-learn's handwritten digits, so that nothing is downloaded. It needs Keras 3 with
TensorFlow, or with PyTorch (KERAS_BACKEND=torch).
"""

import keras
import optuna
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

N_EPOCHS = 10
BATCH = 128


def objective(trial):
    """Return the validation accuracy after all epochs."""
    keras.backend.clear_session()
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype("float32") / 16
    train_x, valid_x, train_y, valid_y = train_test_split(images, labels, random_state=0)
    convolution = layers.Conv2D(
        filters=trial.suggest_categorical("filters", [32, 64]),
        kernel_size=trial.suggest_categorical("kernel_size", [3, 5]),
        strides=trial.suggest_categorical("strides", [1, 2]),
        activation=trial.suggest_categorical("activation", ["relu", "linear"]),
    )
    classes = layers.Dense(10, activation="softmax")
    network = keras.Sequential([layers.Input((8, 8, 1)), convolution, layers.Flatten(), classes])
    rate = trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True)
    network.compile(
        loss="sparse_categorical_crossentropy",
        optimizer=keras.optimizers.RMSprop(learning_rate=rate),
        metrics=["accuracy"],
    )
    network.fit(train_x, train_y, batch_size=BATCH, epochs=N_EPOCHS, verbose=0)
    return network.evaluate(valid_x, valid_y, verbose=0)[1]


if __name__ == "__main__":
    study = optuna.create_study(direction="maximize")
    study.optimize(objective, n_trials=100)
    print(study.best_trial)
