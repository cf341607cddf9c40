"""Several workers, here or on a cluster: the same bytes, and errors that are told."""

import sys

import numpy as np
import pytest

import mcdrop
from mcdrop.errors import DataError, InputError
from mcdrop.scoring import score
from tests.models import random_pixels
from tests.scoring.outputs import names


@pytest.mark.slow
def test_processes_give_the_same_bytes(predictor, source) -> None:
    outputs = [source.with_name(f"{workers}.parquet") for workers in (1, 2)]
    for workers, output in enumerate(outputs, 1):
        score(predictor, source, output, samples=5, workers=workers)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.slow
def test_an_error_of_a_worker_is_told(predictor, tmp_path) -> None:
    x = random_pixels(20)
    x[7, 3] = np.nan
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(DataError, match=r"x\.npy, row 7 .*column 3"):
        score(predictor, tmp_path / "x.npy", tmp_path / "s.csv", samples=1, workers=2)
    assert names(tmp_path) == ["x.npy"]


def test_other_processes_need_to_know_where_the_model_is(predictor, source) -> None:
    adrift = mcdrop.Predictor(predictor.card, predictor.network, predictor.reference)
    with pytest.raises(InputError, match=r"mcdrop\.load"):
        score(adrift, source, source.with_suffix(".csv"), samples=1, workers=2)


def test_ray_is_named_where_it_is_absent(predictor, source, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'mcdrop\[ray\]'"):
        score(predictor, source, source.with_suffix(".csv"), samples=1, on="ray")
    assert names(source.parent) == ["rows.npy"]
