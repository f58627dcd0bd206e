"""The faults that can be put into a module: each changes one expression or statement."""

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_OTHER_FUNCTION = {"min": "max", "max": "min", "any": "all", "all": "any"}
_MOST_KEYWORDS = 3  # a call with more makes a record: without one of its fields it fails anywhere
_NO_BEHAVIOUR = frozenset({"annotation", "returns", "decorator_list", "bases"})  # fields that concern types


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `old`, at these bytes of the file, becomes `new`. `name` is stable while its function is unchanged."""

    name: str
    file: str
    line: int
    start: int
    end: int
    old: str
    new: str

    def put_into(self, source: bytes) -> bytes:
        """Return the module with the fault."""
        return source[: self.start] + self.new.encode() + source[self.end :]

    def rank(self, seed: int) -> str:
        """Return a key to draw faults by, so that changes in other functions leave the rest of a sample as it was."""
        return hashlib.sha256(f"{seed} {self.name}".encode()).hexdigest()


def faults_of(root: Path, file: str) -> Iterator[Fault]:
    """Yield all faults for a module, in the order of its text."""
    source = (root / file).read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    met: Counter[str] = Counter()
    for where, node, new in _variants(ast.parse(source), ""):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        old = source[start:end].decode()
        text = ast.unparse(new)
        if isinstance(new, ast.expr) and not isinstance(new, ast.Constant):
            text = f"({text})"
        name = f"{file} {where or 'module'}: {_change(old, node, text, new)}"
        met[name] += 1
        name = name if met[name] == 1 else f"{name} ({met[name]})"
        yield Fault(name, file, node.lineno, start, end, old, text)


def _change(old: str, node: ast.AST, text: str, new: ast.AST) -> str:
    if isinstance(node, ast.Call) and isinstance(new, ast.Call) and len(new.keywords) < len(node.keywords):
        (left_out,) = {keyword.arg for keyword in node.keywords} - {keyword.arg for keyword in new.keywords}
        return f"{ast.unparse(node.func)}(...) without {left_out}"
    return f"{shorten(old, 70)} -> {shorten(text, 70)}"


def _variants(node: ast.AST, where: str) -> Iterator[tuple[str, ast.expr | ast.stmt, ast.expr | ast.stmt]]:
    """Yield a node's function, the node, and its possible replacements."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        where = f"{where}.{node.name}".removeprefix(".")
    elif _is_left_alone(node):
        return
    if isinstance(node, ast.expr):
        yield from ((where, node, new) for new in _other_expressions(node))
    elif isinstance(node, ast.stmt):
        yield from ((where, node, new) for new in _other_statements(node))
    for name, value in ast.iter_fields(node):
        if name not in _NO_BEHAVIOUR:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _variants(child, where)
        if name in {"test", "ifs"}:
            conditions = value if isinstance(value, list) else [value]
            plain = (each for each in conditions if isinstance(each, ast.Name | ast.Attribute | ast.Call))
            yield from ((where, each, ast.UnaryOp(ast.Not(), each)) for each in plain)


def _is_left_alone(node: ast.AST) -> bool:
    """Return whether a node has no behaviour: documentation, types, assertions, logging, and messages."""
    match node:
        case ast.Assert() | ast.JoinedStr() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Subscript(value=ast.Name(id="Literal")) | ast.Call(func=ast.Attribute(value=ast.Name(id="log"))):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="log")))):
            return True
        case _:
            return False


def _other_expressions(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Compare(left, ops, comparators):
            for place, operator in enumerate(ops):
                other = _COMPARISONS[type(operator)]()
                yield ast.Compare(left, [*ops[:place], other, *ops[place + 1 :]], comparators)
        case ast.BinOp(left, operation, right) if type(operation) in _ARITHMETIC:
            yield ast.BinOp(left, _ARITHMETIC[type(operation)](), right)
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.Constant():
            yield from _other_constants(node)
        case ast.Call():
            yield from _other_calls(node)


def _other_constants(node: ast.Constant) -> Iterator[ast.expr]:
    match node:
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() | float() as number):
            yield ast.Constant(number + 1)
        case ast.Constant(str() as text) if text and " " not in text:  # a code or a field; text with blanks is prose
            yield ast.Constant(f"{text}X")


def _other_calls(node: ast.Call) -> Iterator[ast.expr]:
    match node:
        case ast.Call(ast.Name(name), arguments, keywords) if name in _OTHER_FUNCTION:
            yield ast.Call(ast.Name(_OTHER_FUNCTION[name]), arguments, keywords)
        case ast.Call(function, arguments, keywords) if len(keywords) <= _MOST_KEYWORDS:
            for place, keyword in enumerate(keywords):
                if keyword.arg is not None:
                    yield ast.Call(function, arguments, [*keywords[:place], *keywords[place + 1 :]])


def _other_statements(node: ast.stmt) -> Iterator[ast.stmt]:
    match node:
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Delete() | ast.Raise():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
