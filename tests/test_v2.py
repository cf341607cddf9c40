"""The protocol's reading and answering halves, against the real client's writer and reader."""

import json
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tritonclient.http as triton
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.http import InferenceServerClient as Client

import mcdrop
from mcdrop.errors import InputError
from mcdrop_service.ask import Ask, RefusedError, Reply
from mcdrop_service.job import Job
from mcdrop_service.v2 import read_infer
from mcdrop_service.v2_tensors import HEADER, describe, lay_out, output_names
from tests.models import random_pixels, save_random_classifier

PIXELS = random_pixels(3)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> mcdrop.Predictor:
    return mcdrop.load(save_random_classifier(tmp_path_factory.mktemp("models")))


def tensor(name: str, values: np.ndarray, kind: str, binary: bool = True) -> triton.InferInput:
    found = triton.InferInput(name, list(values.shape), kind)
    found.set_data_from_numpy(values, binary_data=binary)
    return found


def written(*inputs: triton.InferInput, **options: Any) -> Ask:
    """What is read of what the real client writes."""
    content, length = Client.generate_request_body(list(inputs), **options)
    return read_infer(content, None if length is None else str(length))


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("kind", ["FP32", "FP64", "UINT8", "INT64"])
def test_rows_of_numbers_arrive_as_they_are(kind: str, binary: bool) -> None:
    values = PIXELS.astype({"FP32": "f4", "FP64": "f8", "UINT8": "u1", "INT64": "i8"}[kind])
    ask = written(tensor("inputs", values, kind, binary), request_id="7")
    assert isinstance(ask.rows, np.ndarray)
    assert ask.rows.dtype == values.dtype
    np.testing.assert_array_equal(ask.rows, values)
    assert (ask.format, ask.extra["id"]) == ("v2", "7")


@pytest.mark.parametrize("binary", [True, False])
def test_columns_arrive_as_a_table(binary: bool) -> None:
    ages = np.array([[30.0], [np.nan if binary else 31.0]])
    jobs = np.array([["smith"], ["größer"]], dtype=object)
    ask = written(tensor("age", ages, "FP64", binary), tensor("job", jobs, "BYTES", binary))
    assert isinstance(ask.rows, pa.Table)
    first, second = ask.rows.to_pylist()
    assert first == {"age": 30.0, "job": "smith"}
    assert second == {"age": pytest.approx(ages[1, 0], nan_ok=True), "job": "größer"}
    again = Ask.unpack(*ask.pack())
    assert isinstance(again.rows, pa.Table)
    assert again.rows.to_pydict().keys() == {"age", "job"}
    assert again.rows["job"].to_pylist() == ["smith", "größer"]


def test_null_is_a_missing_number() -> None:
    ask = read_infer(infer(data=[None, 2]))
    np.testing.assert_array_equal(np.asarray(ask.rows), [[np.nan, 2]])


def test_parameters_are_the_ask_s() -> None:
    ask = written(
        tensor("inputs", PIXELS, "FP64"),
        parameters={"samples": 57, "seed": 2**40, "level": 0.8, "risk": 0.1},
    )
    assert (ask.samples, ask.seed, ask.level, ask.risk) == (57, 2**40, 0.8, 0.1)


HEAD = {"name": "inputs", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}


def infer(**changes: Any) -> bytes:
    return json.dumps({"inputs": [{**HEAD, **changes}]}).encode()


def asking(**parameters: Any) -> bytes:
    return json.dumps({"inputs": [HEAD], "parameters": parameters}).encode()


WRONG: dict[str, tuple[bytes, str | None, str]] = {
    "no JSON": (b"{", None, "not JSON"),
    "no object": (b"[]", None, "dictionary"),
    "no inputs": (b"{}", None, "inputs: field required"),
    "none": (b'{"inputs": []}', None, "inputs: "),
    "unknown field": (b'{"inputs": [], "x": 1}', None, ""),
    "deep": (b'{"inputs": ' + b"[" * 10**5 + b"]" * 10**5 + b"}", None, "not JSON"),
    "NaN": (b'{"inputs": [{"data": [NaN]}]}', None, "not JSON"),
    "datatype": (infer(datatype="FP128"), None, "datatype"),
    "shape": (infer(shape=[1, 3]), None, "got 2 values, wanted shape [1, 3]"),
    "negative shape": (infer(shape=[-1, 2]), None, "shape"),
    "huge shape": (infer(shape=[2**31, 2**31]), None, "shape"),
    "no rows": (infer(shape=[0, 2], data=[]), None, "0 rows"),
    "many rows": (infer(shape=[5000, 1], data=[0] * 5000), None, "5000 rows"),
    "ragged": (infer(data=[[1], [2, 3]]), None, "no FP32"),
    "text": (infer(data=["1", "2"]), None, "no FP32"),
    "null": (infer(data=[None, 2], datatype="INT32"), None, "no INT32"),
    "null and a text": (infer(data=[None, "2"]), None, "no FP32"),
    "truth": (infer(data=[True, False]), None, "no FP32"),
    "fraction": (infer(datatype="INT32", data=[1.5, 2]), None, "no INT32"),
    "out of range": (infer(datatype="UINT8", data=[256, 2]), None, "no UINT8"),
    "negative": (infer(datatype="UINT8", data=[-1, 2]), None, "no UINT8"),
    "number for text": (infer(datatype="BYTES"), None, "no BYTES"),
    "neither": (infer(data=None), None, "neither"),
    "both": (infer(parameters={"binary_data_size": 8}) + b"x" * 8, None, "not JSON"),
    "no such length": (infer(), "9999", "wanted a JSON of 9999"),
    "negative length": (infer(), "-1", "wanted a number of bytes"),
    "float length": (infer(), "1e3", "wanted a number of bytes"),
    "trailing bytes": (infer() + b"xxxx", str(len(infer())), "4 bytes after the JSON, wanted 0"),
    "option": (asking(samples=0), None, "parameters.samples"),
    "unknown option": (asking(sample=1), None, "wanted some of samples"),
    "nested option": (asking(samples=[1]), None, "parameters.samples"),
    "twice": (json.dumps({"inputs": [HEAD, HEAD]}).encode(), None, "two inputs named"),
    "columns": (
        json.dumps({"inputs": [{**HEAD, "name": "a"}, {**HEAD, "name": "b"}]}).encode(),
        None,
        "wanted [rows] or [rows, 1]",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case: str) -> None:
    content, length, said = WRONG[case]
    with pytest.raises(RefusedError) as refused:
        read_infer(content, length)
    assert refused.value.status == 400
    assert said.lower() in str(refused.value).lower()
    assert len(str(refused.value)) < 500


def binary(size: Any, tail: bytes, **changes: Any) -> None:
    one = {**HEAD, **changes, "parameters": {"binary_data_size": size}}
    one.pop("data")
    head = json.dumps({"inputs": [one]}).encode()
    read_infer(head + tail, str(len(head)))


def test_binary_tensors_have_the_size_they_say() -> None:
    binary(8, b"x" * 8)
    text = (5).to_bytes(4, "little") + b"hello"
    binary(9, text, datatype="BYTES", shape=[1, 1], name="job")
    for size, tail, changes in [
        (8, b"x" * 7, {}),
        (8, b"x" * 9, {}),
        (7, b"x" * 7, {}),
        (-8, b"x" * 8, {}),
        (True, b"x", {}),
        (2**62, b"x" * 8, {}),
        (8, text[:8], {"datatype": "BYTES", "shape": [1, 1]}),
        (5, b"\xff\xff\xff\xffx", {"datatype": "BYTES", "shape": [1, 1]}),
        (5, b"\x01\0\0\0\xff", {"datatype": "BYTES", "shape": [1, 1]}),
        (2, b"\x01\0", {"datatype": "BYTES", "shape": [1, 1]}),
    ]:
        with pytest.raises(RefusedError):
            binary(size, tail, **changes)


@given(st.binary(max_size=200), st.none() | st.integers(0, 200).map(str))
def test_any_bytes_are_read_or_refused(content: bytes, length: str | None) -> None:
    with pytest.raises(RefusedError):
        read_infer(content, length)


def test_a_hundred_thousand_texts_are_quick() -> None:
    texts = np.array([["x"]] * 4096, dtype=object)
    began = time.thread_time()
    written(tensor("job", texts, "BYTES"))
    assert time.thread_time() - began < 1


def answer(predictor: mcdrop.Predictor, *asks: Ask) -> list[triton.InferResult]:
    jobs = [Job(a, predictor, predictor.card.preprocessing.encode(a.rows), 40) for a in asks]
    found = predictor.predict(np.concatenate([np.asarray(a.rows) for a in asks]), 40)
    return [as_client(reply) for reply in lay_out(jobs, found, None)]


def as_client(reply: Reply) -> triton.InferResult:
    length = dict(reply.headers).get(HEADER)
    return Client.parse_response_body(reply.body, header_length=length and int(length))


@pytest.mark.parametrize("as_bytes", [True, False])
def test_answers_are_the_library_s_to_the_bit(predictor: mcdrop.Predictor, as_bytes: bool) -> None:
    names = output_names(predictor.card)
    outputs = [triton.InferRequestedOutput(name, binary_data=as_bytes) for name in names]
    inputs = tensor("inputs", PIXELS, "FP64")
    (result,) = answer(predictor, written(inputs, outputs=outputs, request_id="me"))
    expected = predictor.predict(PIXELS, 40)
    about = result.get_response()
    assert (about["id"], about["model_name"], about["model_version"]) == ("me", "tiny", "1")
    assert about["parameters"] == {"samples": 40, "seed": 0, "level": 0.9}
    for name in names:
        found = result.as_numpy(name)
        if name.endswith("prediction"):
            texts = [t.decode() if isinstance(t, bytes) else t for t in found]
            of = expected.deterministic if name.startswith("det") else expected
            assert texts == [str(i) for i in of.prediction]
        elif name == "deterministic_probabilities":
            np.testing.assert_array_equal(found, expected.deterministic.probabilities)
        else:
            np.testing.assert_array_equal(found, getattr(expected, name), err_msg=name)


def test_requests_in_one_batch_get_their_own_rows_and_outputs(
    predictor: mcdrop.Predictor,
) -> None:
    one = written(tensor("inputs", PIXELS[:1], "FP64"), request_id="one")
    two = written(
        tensor("inputs", PIXELS[1:], "FP64"),
        outputs=[
            triton.InferRequestedOutput("confidence", binary_data=False),
            triton.InferRequestedOutput("probabilities", binary_data=True),
        ],
    )
    first, second = answer(predictor, one, two)
    assert first.get_response()["id"] == "one"
    assert len(first.get_response()["outputs"]) == len(output_names(predictor.card))
    expected = predictor.predict(PIXELS, 40)
    np.testing.assert_array_equal(first.as_numpy("total"), expected.total[:1])
    np.testing.assert_array_equal(second.as_numpy("confidence"), expected.confidence[1:])
    np.testing.assert_array_equal(second.as_numpy("probabilities"), expected.mean[1:])
    assert second.as_numpy("total") is None


def test_an_output_that_is_not_there_is_refused(predictor: mcdrop.Predictor) -> None:
    ask = written(tensor("inputs", PIXELS, "FP64"), outputs=[triton.InferRequestedOutput("logits")])
    with pytest.raises(InputError, match="got the output 'logits', wanted some of prediction"):
        answer(predictor, ask)


def test_metadata_lists_every_tensor(predictor: mcdrop.Predictor) -> None:
    about = describe(predictor.card, [1, 2])
    assert about["inputs"] == [{"name": "inputs", "datatype": "FP32", "shape": [-1, 64]}]
    assert about["versions"] == ["1", "2"]
    (result,) = answer(predictor, replace(written(tensor("inputs", PIXELS, "FP64"))))
    for told, given_ in zip(about["outputs"], result.get_response()["outputs"], strict=True):
        assert told["name"] == given_["name"]
        assert told["datatype"] == given_["datatype"]
        assert [3, *told["shape"][1:]] == given_["shape"]
