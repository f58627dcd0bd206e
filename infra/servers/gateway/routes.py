"""Matches a path to a route in time that depends on the path's length, not on the number of routes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import unquote

T = TypeVar("T")


@dataclass(slots=True)
class _Node(Generic[T]):
    children: "dict[str, _Node[T]]" = field(default_factory=dict)
    parameter: "_Node[T] | None" = None
    leaf: "tuple[T, tuple[str, ...]] | None" = None


class RouteTable(Generic[T]):
    """Patterns such as `/users/{user}/buy`, each with a value.

    As on API Gateway, a literal segment takes precedence over a parameter, a parameter is never empty, and one trailing
    slash is ignored.
    """

    def __init__(self, patterns: Iterable[tuple[str, T]]) -> None:
        self._root: _Node[T] = _Node()
        for pattern, value in patterns:
            self._add(pattern, value)

    def _add(self, pattern: str, value: T) -> None:
        node = self._root
        names = []
        for segment in _segments(pattern):
            if segment.startswith("{") and segment.endswith("}"):
                names.append(segment[1:-1])
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.children.setdefault(segment, _Node())
        node.leaf = (value, tuple(names))

    def match(self, path: str) -> tuple[T, dict[str, str]] | None:
        """Return the value for a path as sent, and its parameters, or None for an unknown path.

        Percent-encoding is decoded within segments: `%2F` does not separate them.
        """
        captured: list[str] = []
        segments = _segments(path)
        if "%" in path:
            segments = [unquote(segment) for segment in segments]
        leaf = _find(self._root, segments, 0, captured)
        if leaf is None:
            return None
        value, names = leaf
        return value, dict(zip(names, captured, strict=True))


def _segments(path: str) -> list[str]:
    if path.endswith("/") and len(path) > 2:  # neither "/" nor "//", which would become "/"
        path = path[:-1]
    return path.split("/")


def _find(node: _Node[T], segments: list[str], depth: int, captured: list[str]) -> tuple[T, tuple[str, ...]] | None:
    if depth == len(segments):
        return node.leaf
    segment = segments[depth]
    child = node.children.get(segment)
    if child is not None:
        leaf = _find(child, segments, depth + 1, captured)
        if leaf is not None:
            return leaf
    if node.parameter is not None and segment:
        captured.append(segment)
        leaf = _find(node.parameter, segments, depth + 1, captured)
        if leaf is not None:
            return leaf
        captured.pop()
    return None
