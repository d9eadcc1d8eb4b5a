"""Lists become the arrays that a signature takes, or are refused."""

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from keras_encdec.serving import TensorSpec, cast_inputs, find_signature
from keras_encdec.serving.tensors import as_strings

pytestmark = pytest.mark.once

DTYPES = ["float16", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32"]
DTYPES += ["uint32", "int64", "uint64", "bool"]


def cast(value, dtype, shape=(-1,)):
    specs = {"x": TensorSpec(np.dtype(dtype), shape)}
    return cast_inputs({"x": value}, specs, "some")["x"]


@pytest.mark.parametrize("dtype", [*DTYPES, "object"])
@pytest.mark.parametrize("zeros", [False, True], ids=["without zeros", "with zeros"])
def test_signatures_are_those_of_tensorflow(dtype, zeros):
    definition = SignatureDef()
    for shape in [(), (None, 3, 0), None]:
        info = definition.inputs[str(shape)]
        info.dtype = tf.as_dtype(
            "string" if dtype == "object" else dtype
        ).as_datatype_enum
        info.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    as_json = MessageToDict(
        definition,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=zeros,
    )
    takes, gives = find_signature({"some": as_json}, "some")
    assert gives == {}
    expected = {"()": (), "(None, 3, 0)": (-1, 3, 0), "None": None}
    assert takes == {
        name: TensorSpec(np.dtype(dtype), shape) for name, shape in expected.items()
    }


def test_signatures_of_tensorflow_itself_are_not_for_requests():
    signatures = {"b": {}, "a": {}, "__saved_model_init_op": {}}
    with pytest.raises(
        ValueError, match="one of a, b; received '__saved_model_init_op'"
    ):
        find_signature(signatures, "__saved_model_init_op")


@pytest.mark.parametrize(
    "value, dtype, expected",
    [
        ([1, 2], "int32", [1, 2]),
        ([1, 2], "float32", [1.0, 2.0]),
        ([0.1], "float32", [np.float32(0.1)]),
        ([255], "uint8", [255]),
        ([True, False], "bool", [True, False]),
        (np.array([2**31 - 1]), "int32", [2**31 - 1]),
        (("a", b"b\0", np.str_("é")), "object", [b"a", b"b\0", "é".encode()]),
        (np.array(["a", "bc"]), "object", [b"a", b"bc"]),
        (["\ud800"], "object", [b"\xed\xa0\x80"]),
        ([], "object", []),
        ([], "int32", []),
    ],
)
def test_values_get_the_dtype_of_the_signature(value, dtype, expected):
    array = cast(value, dtype)
    assert array.dtype == dtype
    assert array.tolist() == expected


@pytest.mark.parametrize(
    "value, dtype, error, match",
    [
        ([1.5], "int32", TypeError, "int32; received float64"),
        (["1"], "int32", TypeError, "int32; received strings"),
        ([1], "object", TypeError, "strings; received int64"),
        ([1], "bool", TypeError, "bool; received int64"),
        ([True], "int32", TypeError, "int32; received bool"),
        ([1, "a"], "object", TypeError, "strings alone or numbers alone"),
        ([None], "object", TypeError, "strings alone or numbers alone"),
        ([{"b64": ""}], "object", TypeError, "strings alone or numbers alone"),
        ([2**31, 0], "int32", ValueError, "fit int32; received 0 to 2147483648"),
        ([-1], "uint8", ValueError, "fit uint8; received -1 to -1"),
        ([[1], [2, 3]], "int32", ValueError, "rows of one length.*Pad"),
        ([["a"], ["b", "c"]], "object", ValueError, "rows of one length.*Pad"),
        ([[1]], "int32", ValueError, r"shape \[-1\].*received \[1, 1\]"),
        ("text", "object", ValueError, r"shape \[-1\].*received \[\]"),
    ],
)
def test_values_that_do_not_fit(value, dtype, error, match):
    with pytest.raises(error, match=match):
        cast(value, dtype)


def test_fixed_sizes_and_open_ranks():
    assert cast([[1, 2]], "int32", (-1, 2)).shape == (1, 2)
    with pytest.raises(ValueError, match=r"shape \[-1, 2\].*received \[1, 3\]"):
        cast([[1, 2, 3]], "int32", (-1, 2))
    assert cast([], "int32", (-1, 2)).shape == (0, 2)
    assert cast([[[1]]], "int32", None).shape == (1, 1, 1)


@pytest.mark.parametrize("names", [[], ["text"], ["text", "seed", "top_k"], ["a", "b"]])
def test_every_input_is_demanded_and_no_other(names):
    spec = TensorSpec(np.dtype("int32"), (-1,))
    with pytest.raises(
        ValueError, match="'sample' takes the inputs seed, text; receiv"
    ):
        cast_inputs(dict.fromkeys(names, [1]), {"text": spec, "seed": spec}, "sample")


def test_a_name_says_whether_strings_are_bytes():
    strings = np.array([[b"a", b"\xff"]], object)
    assert as_strings(strings, "text_bytes") is strings
    assert as_strings(strings, "bytes").tolist() == [["a", "\ufffd"]]
    assert as_strings(strings[:0], "text").shape == (0, 2)
