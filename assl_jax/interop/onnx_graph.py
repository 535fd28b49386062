"""A network in evaluation mode as an ONNX graph.

JAX traces the network in its plain forms. What depends on the weights alone is computed; each
remaining operation has an entry in `OPERATIONS`. So any backbone can be exported that uses these
operations only. Inside the graph the channels come first, as ONNX asks for.
"""

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from assl_jax.errors import InputError, require
from assl_jax.interop.tensors import package
from assl_jax.models.cpu import plain_forms

OPSET = 17
IR_VERSION = 8  # what goes with the opset; older programs refuse newer ones
INPUT, BATCH = "images", "batch"


class Value(NamedTuple):
    """An array that depends on the images: its name in the graph; the axes of `shape` are JAX's."""

    name: str
    shape: tuple[int, ...]


class Graph:
    """The nodes and constants so far."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._onnx = package("onnx")

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output; returns its name."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        node = self._onnx.helper.make_node(kind, list(inputs), [name], name=name, **attributes)
        self.nodes.append(node)
        return name

    def constant(self, array: np.ndarray) -> str:
        """An array of the graph; returns its name."""
        name = f"weight_{len(self.constants)}"
        self.constants.append(self._onnx.numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def name_of(self, value: Any, rank: int) -> str:
        """The name of an operand of an elementwise operation of `rank` axes."""
        if isinstance(value, Value):
            return value.name
        return self.constant(_channels_first(np.asarray(value), rank))


def _channels_first(array: np.ndarray, rank: int) -> np.ndarray:
    """A constant that broadcasts with an array whose channels come first."""
    array = array.reshape((1,) * (rank - array.ndim) + array.shape)
    return np.moveaxis(array, -1, 1) if rank > 2 else array


def make_model(
    function: Callable[[jax.Array], Any], image: Sequence[int], outputs: Sequence[str]
) -> Any:
    """An ONNX model of `function`, with the input `images`: float32 `[batch, c, *space]`.

    Args:
      function: maps network inputs `[b, *space, c]` to a sequence of arrays `[b, d]`.
      image: shape of an image, `(*space, c)`.
      outputs: names of the arrays that it returns.
    """
    onnx = package("onnx")
    float32 = onnx.TensorProto.FLOAT
    with plain_forms():
        traced = jax.make_jaxpr(function)(jnp.zeros((1, *image), jnp.float32))
    graph = Graph()
    results = _evaluate(graph, traced.jaxpr, traced.consts, [Value(INPUT, (1, *image))])
    for name, value in zip(outputs, results, strict=True):
        graph.nodes.append(onnx.helper.make_node("Identity", [value.name], [name], name=name))
    *space, channels = image
    whole = onnx.helper.make_graph(
        graph.nodes,
        "network",
        [onnx.helper.make_tensor_value_info(INPUT, float32, [BATCH, channels, *space])],
        [
            onnx.helper.make_tensor_value_info(name, float32, [BATCH, *value.shape[1:]])
            for name, value in zip(outputs, results, strict=True)
        ],
        graph.constants,
    )
    model = onnx.helper.make_model(
        whole,
        producer_name="assl_jax",
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _evaluate(graph: Graph, jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    """The outputs of a traced function: a `Value`, or an array that no image affects."""
    known: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    known |= dict(zip(jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else known[atom]

    for equation in jaxpr.eqns:
        values = [read(atom) for atom in equation.invars]
        name = equation.primitive.name
        inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
        if not any(isinstance(value, Value) for value in values):
            found = equation.primitive.bind(*values, **equation.params)
            results = found if equation.primitive.multiple_results else [found]
        elif inner is not None:
            results = _evaluate(graph, inner.jaxpr, inner.consts, values)
        elif name in OPERATIONS:
            shape = equation.outvars[0].aval.shape
            parameters = SimpleNamespace(**equation.params)
            done = OPERATIONS[name](graph, parameters, len(shape), *values)
            results = [done if isinstance(done, Value) else Value(done, shape)]
        else:
            raise InputError(
                f"the network uses the operation {name}, which --format=onnx does not know; use "
                "--format=safetensors"
            )
        known |= dict(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


# An operation gets the graph, its parameters in JAX, the rank of its result, and its operands.
def _elementwise(kind: str) -> Callable[..., str]:
    def add(graph: Graph, _: Any, rank: int, *values: Any) -> str:
        return graph.add(kind, *(graph.name_of(value, rank) for value in values))

    return add


def _max(graph: Graph, p: Any, rank: int, x: Any, y: Any) -> str:
    """Max; with a constant zero it is ReLU."""
    value, other = (x, y) if isinstance(x, Value) else (y, x)
    if not isinstance(other, Value) and not np.any(other):
        return graph.add("Relu", value.name)
    return _elementwise("Max")(graph, p, rank, x, y)


def _cast(graph: Graph, p: Any, _: int, x: Value) -> str:
    kind = package("onnx").helper.np_dtype_to_tensor_dtype(np.dtype(p.new_dtype))
    return graph.add("Cast", x.name, to=kind)


def _convolve(graph: Graph, p: Any, _: int, x: Value, kernel: Any) -> str:
    require(
        p.batch_group_count == 1 and set(p.lhs_dilation) <= {1},
        "a transposed convolution cannot be exported to ONNX",
    )
    begin, end = zip(*p.padding, strict=True)
    return graph.add(
        "Conv",
        x.name,
        graph.constant(np.moveaxis(np.asarray(kernel), (-1, -2), (0, 1))),
        strides=list(p.window_strides),
        pads=[*begin, *end],
        dilations=list(p.rhs_dilation),
        group=p.feature_group_count,
    )


def _max_pool(graph: Graph, p: Any, _: int, x: Value) -> str:
    require(
        {*p.base_dilation, *p.window_dilation} <= {1},
        "a pooling with dilation cannot be exported to ONNX",
    )
    begin, end = zip(*p.padding[1:-1], strict=True)
    return graph.add(
        "MaxPool",
        x.name,
        kernel_shape=list(p.window_dimensions[1:-1]),
        strides=list(p.window_strides[1:-1]),
        pads=[*begin, *end],
    )


def _sum(graph: Graph, p: Any, _: int, x: Value) -> str:
    """The sum over spatial axes."""
    moved = [_moved(axis, len(x.shape)) for axis in p.axes]
    return graph.add("ReduceSum", x.name, graph.constant(np.asarray(moved, np.int64)), keepdims=0)


def _multiply(graph: Graph, p: Any, _: int, x: Value, kernel: Any) -> str:
    """`[b, d]` times a constant `[d, k]`."""
    require(p.dimension_numbers == (((1,), (0,)), ((), ())), _lacking("multiplies matrices"))
    return graph.add("MatMul", x.name, graph.constant(np.asarray(kernel)))


def _concatenate(graph: Graph, p: Any, _: int, *values: Value) -> str:
    """Along the channels."""
    return graph.add("Concat", *(v.name for v in values), axis=1 if p.dimension else 0)


def _slice(graph: Graph, p: Any, rank: int, x: Value) -> str:
    """Positions along some axes; all images are kept."""
    cuts = zip(p.start_indices, p.limit_indices, p.strides or (1,) * rank, strict=True)
    changed = {a: cut for a, cut in enumerate(cuts) if cut != (0, x.shape[a], 1)}
    if not changed:
        return x.name
    require(0 not in changed, "the network leaves out images, which --format=onnx lacks")
    starts, ends, steps = zip(*changed.values(), strict=True)
    axes = [_moved(axis, rank) for axis in changed]
    given = (np.asarray(values, np.int64) for values in (starts, ends, axes, steps))
    return graph.add("Slice", x.name, *map(graph.constant, given))


def _pad(graph: Graph, p: Any, rank: int, x: Value, filling: Any) -> str:
    """A constant around an array."""
    begin, end = np.zeros((2, rank), np.int64)
    for axis, (before, after, inside) in enumerate(p.padding_config):
        require(inside == 0 and min(before, after) >= 0, _lacking("pads"))
        begin[_moved(axis, rank)], end[_moved(axis, rank)] = before, after
    pads = graph.constant(np.concatenate([begin, end]))
    return graph.add("Pad", x.name, pads, graph.constant(np.asarray(filling)))


def _broadcast(graph: Graph, p: Any, _: int, x: Value) -> Value:
    """Of `[b, d]` only where nothing changes, because the number of images is free."""
    same = math.prod(p.shape) == math.prod(x.shape) and len(p.shape) == len(x.shape)
    require(same, _lacking("broadcasts"))
    return Value(x.name, tuple(p.shape))


def _moved(axis: int, rank: int) -> int:
    """The place of one of JAX's axes in the graph."""
    last = rank - 1
    return 1 if axis == last else axis + (1 if axis and last > 1 else 0)


def _lacking(verb: str) -> str:
    return f"the network {verb} in a way that --format=onnx lacks; use --format=safetensors"


OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": _elementwise("Add"),
    "sub": _elementwise("Sub"),
    "mul": _elementwise("Mul"),
    "div": _elementwise("Div"),
    "exp": _elementwise("Exp"),
    "tanh": _elementwise("Tanh"),
    "logistic": _elementwise("Sigmoid"),
    "max": _max,
    "convert_element_type": _cast,
    "conv_general_dilated": _convolve,
    "reduce_window_max": _max_pool,
    "reduce_sum": _sum,
    "dot_general": _multiply,
    "concatenate": _concatenate,
    "slice": _slice,
    "pad": _pad,
    "broadcast_in_dim": _broadcast,
}
