"""Ways to break a line of Python: what somebody may type wrongly and a test should notice."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}
_OPERATORS: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}
#: Calls whose arguments are for people to read, by the last part of their name.
_SAYING = {
    "print",
    "warn",
    "warning",
    "info",
    "debug",
    "log",
    "rank_zero_warn",
    "rank_zero_info",
    "add_argument",
    "field",
}
#: Arguments that change how something looks, or how fast it is.
_LOOKS = {"indent", "flush", "highlight", "overflow", "help", "metavar"}


@dataclass(frozen=True)
class Break:
    """One edit of a source file, within one line.

    Attributes:
        line: Number of the line, from 1.
        kind: What is done.
        start: Column in characters at which it begins.
        end: Column at which the replaced text ends.
        text: What stands there instead.
    """

    line: int
    kind: str
    start: int
    end: int
    text: str

    def apply(self, source: str) -> str:
        """The broken source."""
        lines = source.splitlines(keepends=True)
        line = lines[self.line - 1]
        lines[self.line - 1] = line[: self.start] + self.text + line[self.end :]
        return "".join(lines)


def find_breaks(source: str) -> list[Break]:
    """All breaks of the code of a file: not of docstrings, annotations, messages, logs or imports.

    Args:
        source: The file's text.
    """
    lines = source.splitlines(keepends=True)
    breaks: list[Break] = []
    for node in _code(ast.parse(source)):
        breaks += _breaks_of(node, lines)
    return sorted(set(breaks), key=lambda found: (found.line, found.start, found.end, found.text))


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what is below it, without what does nothing when the program works."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_for_people(child):
                yield from _code(child)


def _is_for_people(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom | ast.Subscript):
        # of subscripts, those of types
        return not isinstance(node, ast.Subscript) or ast.unparse(node.value).split(".")[-1] in (
            "Literal",
            "dict",
            "list",
        )
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).split(".")[-1] in _SAYING
    if isinstance(node, ast.keyword):
        return node.arg in _LOOKS
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    return isinstance(node, ast.Expr) and (isinstance(node.value, ast.Constant) or _is_for_people(node.value))


def _breaks_of(node: ast.AST, lines: list[str]) -> Iterator[Break]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        before, after = _COMPARISONS[type(node.ops[0])]
        yield from _between(node.left, node.comparators[0], before, after, lines)
    elif isinstance(node, ast.BinOp):
        if type(node.op) in _OPERATORS:
            yield from _between(node.left, node.right, *_OPERATORS[type(node.op)], lines)
        if isinstance(node.op, ast.Add | ast.Sub):
            yield from _instead(node, f"drop {ast.unparse(node.right)}", ast.unparse(node.left), lines)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield from _instead(
            node, f"drop {'-' if isinstance(node.op, ast.USub) else 'not'}", ast.unparse(node.operand), lines
        )
    elif isinstance(node, ast.BoolOp):
        before, after = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        yield from _between(node.values[0], node.values[1], before, after, lines)
        yield from _dropped(node.values[-2], node.values[-1], lines)
    elif isinstance(node, ast.Constant):
        yield from _constant(node, lines)
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield from _instead(node.test, "negate the condition", f"not ({ast.unparse(node.test)})", lines)
        yield from _instead(node.test, "skip the branch", "False", lines)
    elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield from _instead(node, "drop the statement", "pass", lines)


def _constant(node: ast.Constant, lines: list[str]) -> Iterator[Break]:
    if isinstance(node.value, bool):
        yield from _instead(node, "change a constant", str(not node.value), lines)
    elif isinstance(node.value, int):
        yield from _instead(node, "change a constant", str(node.value + 1), lines)
    elif isinstance(node.value, float):
        yield from _instead(node, "change a constant", repr(node.value * 1.5 if node.value else 1.0), lines)


def _instead(node: ast.expr | ast.stmt, kind: str, text: str, lines: list[str]) -> Iterator[Break]:
    """A node's text replaced, where it stands on one line."""
    if node.lineno == node.end_lineno and node.end_col_offset is not None:
        line = lines[node.lineno - 1]
        yield Break(node.lineno, kind, _column(line, node.col_offset), _column(line, node.end_col_offset), text)


def _between(left: ast.expr, right: ast.expr, before: str, after: str, lines: list[str]) -> Iterator[Break]:
    """An operator replaced, where it stands on one line with what comes before it."""
    if left.end_lineno != right.lineno or left.end_col_offset is None:
        return
    line = lines[right.lineno - 1]
    start, end = _column(line, left.end_col_offset), _column(line, right.col_offset)
    position = line.find(before, start, end)
    if position >= 0:
        yield Break(right.lineno, f"{before} to {after}", position, position + len(before), after)


def _dropped(left: ast.expr, right: ast.expr, lines: list[str]) -> Iterator[Break]:
    """The last of several conditions left out, where it stands on one line with what comes before it."""
    if left.end_lineno == right.lineno == right.end_lineno and left.end_col_offset and right.end_col_offset:
        line = lines[right.lineno - 1]
        start, end = _column(line, left.end_col_offset), _column(line, right.end_col_offset)
        yield Break(right.lineno, f"drop {ast.unparse(right)}", start, end, "")


def _column(line: str, offset: int) -> int:
    """In characters; ast counts bytes."""
    return len(line.encode()[:offset].decode())
