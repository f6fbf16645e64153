"""TensorFlow's GraphDef file format, read and written without TensorFlow.

Only the fields a frozen graph uses are declared; protobuf keeps the others.

Source: field numbers of tensorflow/core/framework/{graph,node_def,attr_value,tensor,tensor_shape,types}.proto.
"""

import functools
import math
from typing import Any

import numpy as np

from harness.errors import HarnessError

# message: field, number, type (a trailing * is repeated; a capital letter is another message)
_SCHEMA = """
GraphDef: node 1 NodeDef*
NodeDef: name 1 string, op 2 string, input 3 string*, device 4 string, attr 5 AttrEntry*
AttrEntry: key 1 string, value 2 AttrValue
AttrValue: list 1 ListValue, s 2 bytes, i 3 int64, f 4 float, b 5 bool, type 6 int32, shape 7 Shape, tensor 8 Tensor
ListValue: s 2 bytes*, i 3 int64*, f 4 float*, b 5 bool*, type 6 int32*, shape 7 Shape*
Shape: dim 2 Dim*, unknown_rank 3 bool
Dim: size 1 int64, name 2 string
Tensor: dtype 1 int32, shape 2 Shape, content 4 bytes, float_val 5 float*, int_val 7 int32*, string_val 8 bytes*
"""
FLOAT, INT32, UINT8, STRING = 1, 3, 4, 7  # types.proto: DT_FLOAT, DT_INT32, DT_UINT8, DT_STRING
_DTYPES = {FLOAT: np.dtype("<f4"), INT32: np.dtype("<i4")}
# An empty message is 2 bytes in the file and some 100 in memory. `frozen_graph.build` writes 13,000 fields.
_MAX_FIELDS = 50_000
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types; the others are not used


@functools.cache
def _message_classes() -> dict[str, Any]:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # weights in npz need no protobuf

    kinds = descriptor_pb2.FieldDescriptorProto
    # oneofs are left out: an AttrValue with one field set has the same bytes either way
    file = descriptor_pb2.FileDescriptorProto(name="graph.proto", package="harness", syntax="proto3")
    for line in _SCHEMA.strip().splitlines():
        name, fields = line.split(": ")
        declared = file.message_type.add(name=name)
        for entry in fields.split(", "):
            field, number, kind = entry.split()
            repeated, kind = kind.endswith("*"), kind.rstrip("*")
            added = declared.field.add(name=field, number=int(number))
            added.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind[0].isupper():
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".harness.{kind}"
            else:
                added.type = getattr(kinds, f"TYPE_{kind.upper()}")
                if not repeated:  # presence: `b: false` must be written, not dropped
                    added.proto3_optional = True
                    added.oneof_index = len(declared.oneof_decl)
                    declared.oneof_decl.add(name=f"_{field}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        m.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"harness.{m.name}"))
        for m in file.message_type
    }


def new_graph() -> Any:
    """Return an empty GraphDef."""
    return _message_classes()["GraphDef"]()


def parse(data: bytes, where: str) -> Any:
    """Return the GraphDef in `data`.

    Raises:
        HarnessError: not a GraphDef, or one of far more parts than the 2015 graph, naming `where`.
    """
    from google.protobuf.message import DecodeError

    graph = new_graph()
    try:
        if _count_fields(memoryview(data), "GraphDef", _MAX_FIELDS) < 0:
            raise HarnessError(f"{where}: more than {_MAX_FIELDS:,} fields; this is not the 2015 Inception graph.")
        graph.ParseFromString(data)
    except (DecodeError, _Malformed, IndexError):
        raise HarnessError(
            f"{where}: not a TensorFlow GraphDef (truncated or another format); fetch it again."
        ) from None
    if not graph.node or not all(node.name and node.op for node in graph.node):
        raise HarnessError(f"{where}: holds no TensorFlow graph; give the frozen graph `classify_image_graph_def.pb`.")
    return graph


class _Malformed(Exception):
    """The bytes are no protobuf message."""


@functools.cache
def _sub_messages() -> dict[str, dict[int, str]]:
    """Return, for each message of the schema, the numbers of its fields that are messages, and which."""
    found: dict[str, dict[int, str]] = {}
    for line in _SCHEMA.strip().splitlines():
        name, fields = line.split(": ")
        entries = [entry.split() for entry in fields.split(", ")]
        found[name] = {int(number): kind.rstrip("*") for _, number, kind in entries if kind[0].isupper()}
    return found


def _count_fields(data: memoryview, message: str, allowed: int) -> int:
    """Return how many of the `allowed` fields are left after those of `data`, without building any; -1 if too few."""
    inner, at = _sub_messages()[message], 0
    while at < len(data):
        allowed -= 1
        if allowed < 0:
            return -1
        key, at = _varint(data, at)
        if key & 7 == _VARINT:
            _, at = _varint(data, at)
        elif key & 7 in (_FIXED64, _FIXED32):
            at += 8 if key & 7 == _FIXED64 else 4
        elif key & 7 == _BYTES:
            length, at = _varint(data, at)
            if key >> 3 in inner:
                allowed = _count_fields(data[at : at + length], inner[key >> 3], allowed)
                if allowed < 0:
                    return -1
            at += length
        else:
            raise _Malformed
    if at != len(data):
        raise _Malformed
    return allowed


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number at `at`, in 7 bits a byte, and where the next one begins."""
    value = 0
    for shift in range(0, 70, 7):  # 64 bits take at most ten bytes
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return value, at
    raise _Malformed


def add_node(graph: Any, name: str, op: str, inputs: tuple[str, ...] = (), **attributes: Any) -> str:
    """Append a node; attribute values are str, bool, int, float, list of int, or a NumPy array. Return its name."""
    node = graph.node.add(name=name, op=op, input=inputs)
    for key, value in sorted(attributes.items()):
        attribute = node.attr.add(key=key).value
        if isinstance(value, np.ndarray):
            _fill_tensor(attribute.tensor, value)
        elif isinstance(value, str):
            attribute.s = value.encode()
        elif isinstance(value, bool):
            attribute.b = value
        elif isinstance(value, float):
            attribute.f = value
        elif isinstance(value, list):
            attribute.list.i.extend(value)
        elif key in ("T", "dtype", "SrcT", "DstT", "Tdim"):
            attribute.type = value
        else:
            attribute.i = value
    return name


def add_constant(graph: Any, name: str, value: np.ndarray) -> str:
    """Append a Const node of float32, int32 or bytes. Return its name."""
    dtype = STRING if value.dtype.kind == "S" else next(code for code, d in _DTYPES.items() if d == value.dtype)
    return add_node(graph, name, "Const", dtype=dtype, value=value)


def _fill_tensor(tensor: Any, value: np.ndarray) -> None:
    tensor.shape.SetInParent()
    for size in value.shape:
        tensor.shape.dim.add(size=size)
    if value.dtype.kind == "S":
        tensor.dtype = STRING
        tensor.string_val.extend(value.ravel().tolist())
    else:
        tensor.dtype = next(code for code, dtype in _DTYPES.items() if dtype == value.dtype)
        tensor.content = np.ascontiguousarray(value).tobytes()


def attributes(node: Any) -> dict[str, Any]:
    """Return a node's attributes by name, as protobuf values (`.i`, `.f`, `.b`, `.s`, `.list`, `.tensor`)."""
    return {entry.key: entry.value for entry in node.attr}


def constant(node: Any, kind: int, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Return a Const node's value, which must have that kind (FLOAT or INT32) and shape and be finite.

    Raises:
        HarnessError: not a Const of that kind and shape, content of another size, or values that are not finite.
    """

    def fail(problem: str) -> None:
        raise HarnessError(f"{where}: node {node.name} {problem}.")

    held = attributes(node)
    if node.op != "Const" or "value" not in held:
        fail(f"is {node.op}, expected a Const; the graph is not frozen")
    tensor = held["value"].tensor
    dtype = _DTYPES[kind]
    declared = tuple(dim.size for dim in tensor.shape.dim)
    if tensor.dtype != kind:
        fail(f"has TensorFlow dtype {tensor.dtype}, expected {dtype.name}")
    if declared != shape:
        fail(f"has shape {list(declared)}, expected {list(shape)}; this is not the 2015 Inception graph")
    size = math.prod(shape)
    listed = tensor.float_val or tensor.int_val
    count = len(tensor.content) / dtype.itemsize if tensor.content else len(listed)
    if count not in (1, size):  # TensorProto: one value stands for all
        fail(f"holds {count:g} values for shape {list(shape)}; the file is damaged")
    values = np.frombuffer(tensor.content, dtype) if tensor.content else np.array(list(listed), dtype)
    if not np.isfinite(values).all():
        fail("holds NaN or infinity; the file is damaged")
    return np.broadcast_to(values, size).reshape(shape)
