"""A device that is not the CPU, for machines without a GPU: it refuses what a GPU would refuse."""

import contextlib

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

# A kind of device that torch knows everywhere and that nothing else here uses.
_STAND_IN = torch.device("lazy")
_COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


@contextlib.contextmanager
def card():
    """Yield a GPU where there is one, else a stand-in whose tensors live in the CPU's memory.

    As with a GPU, tensors of the stand-in compute only with each other and with single numbers, `.to`
    and `.cpu` alone lead from one place to the other, and `.numpy` of them is an error.
    """
    if torch.cuda.is_available():
        yield torch.device("cuda")
        return
    with _Numbers(), _StandIn():
        yield _STAND_IN


class _OnStandIn(torch.Tensor):
    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=_STAND_IN,
        )

    def __init__(self, held):
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


class _Numbers(TorchFunctionMode):
    """Makes a tensor of Python's numbers in two steps, as `torch.tensor` asks no dispatch mode."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.tensor and kwargs.get("device") == _STAND_IN:
            return torch.tensor(*args, **{**kwargs, "device": "cpu"}).to(_STAND_IN)
        return function(*args, **kwargs)


class _StandIn(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


def _run(function, args, kwargs):
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    there = {id(t.held): t for t in tensors if isinstance(t, _OnStandIn)}
    here = [t for t in tensors if not isinstance(t, _OnStandIn) and t.ndim]
    if there and here and function not in _COPIES:
        raise RuntimeError(f"{function}: all tensors must be on one device, found {_STAND_IN} and cpu")
    named = kwargs.get("device")
    to_there = bool(there) if named is None else torch.device(named).type == _STAND_IN.type
    if named is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args_held, kwargs_held = tree_map(_held, (args, kwargs))
    result = function(*args_held, **kwargs_held)
    if function is torch.ops.aten.copy_.default:
        return args[0]  # it stays where it is
    if not to_there:
        return result

    def placed(value):
        if not isinstance(value, torch.Tensor):
            return value
        return there[id(value)] if id(value) in there else _OnStandIn(value)  # changed in place, or new

    return tree_map(placed, result)


def _held(value):
    return value.held if isinstance(value, _OnStandIn) else value
