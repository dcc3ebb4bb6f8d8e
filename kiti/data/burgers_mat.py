"""Burgers' equation as the FNO authors published it: one MATLAB file, fields a (u0) and u (u at t = 1)."""

import hashlib
from pathlib import Path

import torch
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from torch import Tensor

from kiti.data import DataError
from kiti.data.operator_pairs import OperatorPairs, Pair, subsample
from kiti.data.trivial.trivial_functions import predicted_functions

FIELDS = ("a", "u")


class BurgersMat(OperatorPairs):
    """Pairs (a, u) from a MATLAB file such as `burgers_data_R10.mat`: each (2048, 8192), rows are samples.

    As in the authors' script, the first `n_train` rows are for training, the last `n_test` for testing, and every
    (8192 / resolution)-th column is used. The fingerprint's content is the sha256 of the file.

    Args:
        path: the file, MATLAB format v7 or older.
        n_train, n_test, resolution, test_resolution, batch_size, eval_batch_size, seed: as for OperatorPairs.

    Loading raises ValueError if a field is missing, the file is v7.3 (HDF5), it has too few rows, or a resolution
    does not divide the number of columns.
    """

    def __init__(
        self,
        path: Path | str,
        n_train: int = 1000,
        n_test: int = 100,
        resolution: int = 1024,
        batch_size: int = 20,
        eval_batch_size: int = 100,
        seed: int = 0,
        test_resolution: int | None = None,
    ) -> None:
        super().__init__(n_train, n_test, resolution, test_resolution, batch_size, eval_batch_size, seed)
        self.path = Path(path)

    def load(self) -> tuple[Pair, Pair, str]:
        fields = _read_fields(self.path)
        rows = len(fields[0])
        if self.n_train + self.n_test > rows:
            raise DataError(
                f"data.n_train={self.n_train} and data.n_test={self.n_test}: {self.path} has only {rows} rows"
            )
        a_train, u_train = (subsample(field[: self.n_train], self.resolution) for field in fields)
        a_test, u_test = (subsample(field[rows - self.n_test :], self.test_resolution) for field in fields)
        with self.path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        return (a_train, u_train), (a_test, u_test), content

    def trivial_predictions(self) -> dict[str, Pair]:
        (inputs, targets), (given, target), _ = self._data
        return {
            name: (found, target) for name, found in predicted_functions((inputs, targets), given, time=1.0).items()
        }


def _read_fields(path: Path) -> list[Tensor]:
    try:
        contents = loadmat(path, variable_names=FIELDS)
    except NotImplementedError as hdf5:  # scipy's error for v7.3
        raise DataError(f"{path} is a MATLAB v7.3 (HDF5) file: convert it with MATLAB's save(..., '-v7')") from hdf5
    except (ValueError, MatReadError) as error:
        raise DataError(f"{path} is not a MATLAB file: {error}") from error
    missing = [name for name in FIELDS if name not in contents]
    if missing:
        raise DataError(f"{path} has no field {', '.join(missing)}: expected {' and '.join(FIELDS)}")
    fields = [torch.from_numpy(contents[name]).float() for name in FIELDS]
    if fields[0].ndim != 2 or fields[0].shape != fields[1].shape:
        shapes = " and ".join(str(tuple(field.shape)) for field in fields)
        raise DataError(f"{path}: a and u must be matrices of the same shape, got {shapes}")
    return fields
