"""Builds `serve.cc` and asks it: how a SavedModel answers where no Python is."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, tensor_pb2

SOURCE = Path(__file__).parent / "serve.cc"


class Program:
    """The compiled `serve.cc`, or a skipped test where there is no C++ compiler.

    Args:
        build_folder: Where the program is built, unless it is there already.
    """

    def __init__(self, build_folder):
        self.path = Path(build_folder) / "serve"
        self.libraries = op_libraries()
        if not self.path.exists():
            compile_to(self.path)

    def run(self, saved_model, requests):
        """Loads a SavedModel and answers requests, one after the other.

        Args:
            saved_model: The folder.
            requests: A list of pairs: the name of a signature, and a dict of an array
                for each of its inputs. An array of strings is one of objects.

        Returns:
            A list of dicts, each of an array for each output of the signature.

        Raises:
            RuntimeError: If the program ends with an error, with all that it wrote.
        """
        return [
            {name: tf.make_ndarray(value.tensor) for name, value in answer.attr.items()}
            for answer in self._answers(saved_model, requests).func
        ]

    def signatures(self, saved_model):
        """Loads a SavedModel and returns the names of its signatures, sorted."""
        return sorted(name.decode() for name in self._answers(saved_model, []).s)

    def _answers(self, saved_model, requests):
        message = attr_value_pb2.AttrValue.ListValue()
        for signature, inputs in requests:
            request = message.func.add(name=signature)
            for name, array in inputs.items():
                request.attr[name].tensor.CopyFrom(to_proto(array))
        child = subprocess.run(
            [self.path, saved_model, *self.libraries],
            input=message.SerializeToString(),
            capture_output=True,
        )
        log = child.stderr.decode(errors="replace")
        if child.returncode:
            raise RuntimeError(f"{self.path} ended with {child.returncode}:\n{log}")
        sys.stderr.write(log)
        return attr_value_pb2.AttrValue.ListValue.FromString(child.stdout)


def version():
    """A name for what is built: another one if the source or TensorFlow are others."""
    parts = SOURCE.read_bytes(), tf.version.GIT_VERSION, tf.sysconfig.get_lib()
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def compile_to(path):
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("needs a C++ compiler: install one, or name it in CXX")
    path.parent.mkdir(parents=True, exist_ok=True)
    framework = tf.sysconfig.get_link_flags()
    command = [
        compiler,
        SOURCE,
        *tf.sysconfig.get_compile_flags(),
        "-DNDEBUG",  # As the wheel was built: inline functions of Protobuf differ.
        *framework,
        framework[-1].replace("framework", "cc"),
        f"-Wl,-rpath,{tf.sysconfig.get_lib()}",
        "-o",
        part := path.with_suffix(".part"),
    ]
    child = subprocess.run(command, capture_output=True, text=True)
    if child.returncode:
        raise RuntimeError(f"{compiler} failed:\n{child.stderr[-4000:]}")
    part.replace(path)


def op_libraries():
    """What TensorFlow Serving has linked in of `tensorflow_text`: its ops."""
    import tensorflow_text

    folder = Path(tensorflow_text.__file__).parent / "python"
    return sorted([*folder.glob("ops/*.so"), *folder.glob("metrics/*.so")])


def to_proto(array):
    if array.dtype == object:
        return tf.make_tensor_proto(array, tf.string)
    return tensor_pb2.TensorProto(
        dtype=tf.as_dtype(array.dtype).as_datatype_enum,
        tensor_shape=tf.TensorShape(array.shape).as_proto(),
        tensor_content=array.tobytes(),
    )
