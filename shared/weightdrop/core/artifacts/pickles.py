"""A walk over the pickle of a PyTorch checkpoint that runs nothing.

A pickle is a program. Here each opcode is looked up in a list of those that
torch.save writes for a table of tensors, and each global in a list of names
that stand for data. What is on neither list ends the walk; nothing is imported
and nothing is called.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

STORAGES = {
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "DoubleStorage": "F64",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}
"""Types of values by the class torch.save names."""
_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {name}" for name in STORAGES),
}
_MARK = object()


class PickleError(ValueError):
    """The pickle does something a table of tensors has no need of.

    Args:
        message: What.
        offset: Byte offset in the pickle.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Global:
    """A name the pickle asks for; it is never looked up."""

    name: str


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes in the archive: type of value, key of the record, values."""

    dtype: str
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class View:
    """A tensor: which values of a storage it is made of."""

    storage: Storage
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Walk:
    """The machine: a stack and a memo of inert values."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise IndexError
        return value

    def to_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise IndexError
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values


def _literal(walk: _Walk, argument: Any) -> None:
    walk.stack.append(argument)


def _constant(make: Callable[[], Any]) -> Callable[[_Walk, Any], None]:
    return lambda walk, _: walk.stack.append(make())


def _tuple(count: int) -> Callable[[_Walk, Any], None]:
    def step(walk: _Walk, _: Any) -> None:
        values = [walk.pop() for _ in range(count)]
        walk.stack.append(tuple(reversed(values)))

    return step


def _marked_tuple(walk: _Walk, _: Any) -> None:
    walk.stack.append(tuple(walk.to_mark()))


def _put(walk: _Walk, argument: Any) -> None:
    key = len(walk.memo) if argument is None else argument
    walk.memo[key] = walk.stack[-1]


def _get(walk: _Walk, argument: Any) -> None:
    walk.stack.append(walk.memo[argument])


def _set_item(walk: _Walk, _: Any) -> None:
    value, key = walk.pop(), walk.pop()
    _table(walk.stack[-1])[_key(key)] = value


def _set_items(walk: _Walk, _: Any) -> None:
    values = walk.to_mark()
    table = _table(walk.stack[-1])
    for key, value in zip(values[::2], values[1::2], strict=True):
        table[_key(key)] = value


def _table(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise TypeError("it sets items of what is no table")
    return value


def _key(value: Any) -> Any:
    if not isinstance(value, str | int):
        raise TypeError("a table has a key that is neither text nor number")
    return value


def _build(walk: _Walk, _: Any) -> None:
    # state_dict's _metadata: attributes of the table, which loading ignores.
    walk.pop()
    _table(walk.stack[-1])


def _global(walk: _Walk, argument: Any) -> None:
    if argument not in _GLOBALS:
        raise TypeError(f"it asks for {str(argument)[:100].replace(' ', '.')}")
    walk.stack.append(Global(argument))


def _stack_global(walk: _Walk, _: Any) -> None:
    name, module = walk.pop(), walk.pop()
    _global(walk, f"{module} {name}")


def _persistent(walk: _Walk, _: Any) -> None:
    kind, form, key, _, count = walk.pop()
    name = form.name.removeprefix("torch ") if isinstance(form, Global) else ""
    if kind != "storage" or name not in STORAGES or not isinstance(key, str):
        raise TypeError("it refers to something that is no storage")
    if type(count) is not int or count < 0:
        raise TypeError("a storage has no size")
    walk.stack.append(Storage(STORAGES[name], key, count))


def _reduce(walk: _Walk, _: Any) -> None:
    arguments, function = walk.pop(), walk.pop()
    if not isinstance(function, Global) or not isinstance(arguments, tuple):
        raise TypeError("it calls something that is no known function")
    if function.name == "collections OrderedDict" and not arguments:
        walk.stack.append({})
    elif function.name == "torch._utils _rebuild_parameter":
        if not isinstance(arguments[0], View):
            raise TypeError("a parameter is made of no tensor")
        walk.stack.append(arguments[0])
    elif function.name == "torch._utils _rebuild_tensor_v2":
        walk.stack.append(_view(arguments))
    else:
        raise TypeError(f"it calls {function.name.replace(' ', '.')} with arguments")


def _numbers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, tuple) or not all(
        type(number) is int and number >= 0 for number in value
    ):
        raise TypeError("a tensor has a shape or stride that is none")
    return value


def _view(arguments: tuple[Any, ...]) -> View:
    storage, start, shape, strides = arguments[:4]
    if not isinstance(storage, Storage) or type(start) is not int or start < 0:
        raise TypeError("a tensor is made of no storage")
    if len(_numbers(shape)) != len(_numbers(strides)):
        raise TypeError("a tensor has a shape or stride that is none")
    return View(storage, start, shape, strides)


_STEPS: dict[str, Callable[[_Walk, Any], None]] = {
    "PROTO": lambda *_: None,
    "FRAME": lambda *_: None,
    "MARK": _constant(lambda: _MARK),
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "EMPTY_DICT": _constant(dict),
    "EMPTY_LIST": _constant(list),
    "EMPTY_TUPLE": _constant(tuple),
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE",
         "SHORT_BINUNICODE"), _literal),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), _put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _get),
    "TUPLE": _marked_tuple,
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "BUILD": _build,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "BINPERSID": _persistent,
    "REDUCE": _reduce,
}  # fmt: skip
"""What each allowed opcode does to the stack."""


def walk(data: bytes, *, budget: int) -> tuple[dict[str, View], int]:
    """The tensors a checkpoint's pickle describes, and the opcodes it took.

    Args:
        data: The pickle.
        budget: Most opcodes to look at.

    Raises:
        PickleError: If it does anything but describe a table of tensors.
    """
    at = 0
    machine = _Walk()
    try:
        for taken, (opcode, argument, position) in enumerate(pickletools.genops(data)):
            at = position or 0
            if opcode.name == "STOP":
                return _tensors(machine, end=len(data) - at), taken
            _step(opcode.name, argument, machine=machine, left=budget - taken)
    except TypeError as error:
        raise PickleError(str(error), at) from None
    except (ValueError, LookupError, OverflowError, AttributeError):
        raise PickleError("it is damaged", at) from None
    raise PickleError("it has no end", len(data))


def _step(name: str, argument: Any, *, machine: _Walk, left: int) -> None:
    step = _STEPS.get(name)
    if step is None:
        raise TypeError(f"it uses the opcode {name}")
    if left <= 0:
        raise TypeError("it is longer than any checkpoint needs")
    step(machine, argument)


def _tensors(machine: _Walk, *, end: int) -> dict[str, View]:
    if end != 1:
        raise TypeError("there are bytes after its end")
    value = machine.pop()
    if not isinstance(value, dict):
        raise TypeError("it describes something else than a table of tensors")
    for name, view in value.items():
        if not isinstance(name, str) or not isinstance(view, View):
            raise TypeError(f"{str(name)[:80]!r} in its table is no tensor")
    return value
