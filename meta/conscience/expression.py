"""Expressions that make a score of statistics: numbers, names, arithmetic, comparisons, `and or not`, `a if b else c`, and four functions.

    0 if space <= 2 else root(3, clamp(cpu, 1, 100) * clamp(io, 1, 100) * space)

Parsed by Python's grammar, then translated node by node: what is not named here is refused, and nothing is ever executed. Pure.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache

from node.errors import InvalidArgument

TEXT_CHARACTERS_MAX = 500
"""Also bounds how deep an expression nests."""
EXPONENT_MAX = 8
Values = Mapping[str, float]
Compiled = Callable[[Values], float]

_BINARY: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def _divide(left: float, right: float) -> float:
    return left / right if right else math.inf * (left > 0)


def _power(base: float, exponent: float) -> float:
    if not -EXPONENT_MAX <= exponent <= EXPONENT_MAX or (base < 0 and exponent != int(exponent)) or (not base and exponent < 0):
        return 0.0
    try:
        return float(base**exponent)
    except OverflowError:
        return math.inf


def _root(degree: float, value: float) -> float:
    """0 where there is none."""
    return float(value ** (1 / degree)) if value > 0 and degree > 0 else 0.0


def _clamp(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))


_FUNCTIONS: Mapping[str, tuple[int, Callable[..., float]]] = {"root": (2, _root), "clamp": (3, _clamp), "min": (2, min), "max": (2, max)}
"""By name: number of arguments, function."""


@lru_cache(maxsize=256)
def compile_expression(text: str) -> Compiled:
    """A function of the statistics; a name that they lack counts as 100: what isn't measured doesn't speak against a service.

    Raises: InvalidArgument, naming what can't be used.
    """
    if len(text) > TEXT_CHARACTERS_MAX:
        raise InvalidArgument(f"an expression has at most {TEXT_CHARACTERS_MAX} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return _compile(tree.body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidArgument(f"not an expression: {text!r}") from error


def _compile(node: ast.expr) -> Compiled:
    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            number = float(value)
            return lambda _: number
        case ast.Name(id=name):
            return lambda values: values.get(name, 100.0)
        case ast.BinOp():
            return _binary(node)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            made = _compile(inner)
            return lambda values: -made(values)
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            made = _compile(inner)
            return lambda values: float(not made(values))
        case ast.Compare():
            return _comparison(node)
        case ast.BoolOp(op=op, values=parts):
            made_parts = [_compile(part) for part in parts]
            decide = all if isinstance(op, ast.And) else any
            return lambda values: float(decide(part(values) for part in made_parts))
        case ast.IfExp(test=test, body=body, orelse=other):
            condition, yes, no = _compile(test), _compile(body), _compile(other)
            return lambda values: yes(values) if condition(values) else no(values)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _call(name, arguments)
    raise InvalidArgument(f"an expression can't have {ast.unparse(node)!r}")


def _binary(node: ast.BinOp) -> Compiled:
    left, right = _compile(node.left), _compile(node.right)
    combine = _divide if isinstance(node.op, ast.Div) else _power if isinstance(node.op, ast.Pow) else _BINARY.get(type(node.op))
    if combine is None:
        raise InvalidArgument(f"an expression can't have {ast.unparse(node)!r}")
    return lambda values: combine(left(values), right(values))


def _comparison(node: ast.Compare) -> Compiled:
    operators = [_COMPARISONS.get(type(op)) for op in node.ops]
    if len(operators) != 1 or operators[0] is None:
        raise InvalidArgument(f"an expression can't have {ast.unparse(node)!r}")
    compare, left, right = operators[0], _compile(node.left), _compile(node.comparators[0])
    return lambda values: float(compare(left(values), right(values)))


def _call(name: str, arguments: list[ast.expr]) -> Compiled:
    count, function = _FUNCTIONS[name]
    if len(arguments) != count:
        raise InvalidArgument(f"{name} takes {count} values, not {len(arguments)}")
    parts = [_compile(argument) for argument in arguments]
    return lambda values: function(*[part(values) for part in parts])
