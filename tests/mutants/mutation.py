"""Mutants of a source file: small edits that each break something, as text.

A mutant that no test catches is a promise that no test holds, or an edit that changes nothing.
Strings, annotations, decorators and docstrings are left alone.
"""

import ast
import copy
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise, zip_longest

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
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One edit of one file: the characters from `start` to `end` become `new`."""

    file: str
    #: The function around it, as `Class.function`; empty: the module itself.
    function: str
    #: What kind of edit it is.
    kind: str
    line: int
    line_end: int
    start: int
    end: int
    old: str
    new: str
    #: What breaks: of mutants written by hand alone.
    promise: str = ""
    #: The name of a test that is to run before others.
    first: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What stays the same when other parts of the file change."""
        return self.file, self.function, self.old, self.new

    def apply(self, source: str) -> str:
        """The whole file with the edit."""
        return source[: self.start] + self.new + source[self.end :]


def mutants_of(file: str, source: str) -> list[Mutant]:
    """Every mutant of a file, in the order of the source.

    A few may not compile. Raises SyntaxError.
    """
    found = _Finder(file, source).found
    unique = {(mutant.start, mutant.end, mutant.new): mutant for mutant in found}
    return sorted(unique.values(), key=lambda mutant: (mutant.start, mutant.end, mutant.new))


def sample(
    mutants: Sequence[Mutant],
    number: int,
    seed: int,
    good: Callable[[Mutant], bool] = lambda _: True,
) -> list[Mutant]:
    """So many good ones by chance, each kind in its turn. In the order of the source.

    An edit elsewhere in the sources hardly changes the choice.
    """
    seen, indices, by_kind = (
        Counter[tuple[str, ...]](),
        dict[Mutant, int](),
        defaultdict[str, list[tuple[str, Mutant]]](list),
    )
    for index, mutant in enumerate(mutants):
        seen[mutant.key] += 1
        indices[mutant] = index
        message = repr((seed, mutant.kind, mutant.key, seen[mutant.key]))
        by_kind[mutant.kind].append((hashlib.sha256(message.encode()).hexdigest(), mutant))
    ranked = [sorted(by_kind[kind], key=lambda pair: pair[0]) for kind in sorted(by_kind)]
    in_turn = (pair[1] for turn in zip_longest(*ranked) for pair in turn if pair is not None)
    return sorted(islice(filter(good, in_turn), number), key=indices.__getitem__)


def edit(file: str, source: str, old: str, new: str, promise: str, first: str = "") -> Mutant:
    """A mutant written by hand. Raises ValueError unless `old` is there exactly once."""
    if source.count(old) != 1:
        raise ValueError(f"{file} has {source.count(old)} times, expected once: {old}")
    start = source.index(old)
    line = source.count("\n", 0, start) + 1
    line_end = line + old.rstrip("\n").count("\n")
    functions = [
        ".".join(around)
        for around, node in _functions(ast.parse(source), ())
        if node.lineno <= line + old.startswith("\n") and line_end <= (node.end_lineno or 0)
    ]
    return Mutant(
        file,
        functions[-1] if functions else "",
        "by hand",
        line,
        line_end,
        start,
        start + len(old),
        old,
        new,
        promise,
        first,
    )


class _Finder(ast.NodeVisitor):
    def __init__(self, file: str, source: str) -> None:
        self.found: list[Mutant] = []
        self._file = file
        self._source = source
        lines = source.splitlines(keepends=True)
        self._starts = [0]
        for line in lines:
            self._starts.append(self._starts[-1] + len(line))
        self._lines = lines
        self._around: list[str] = []
        self.visit(ast.parse(source))

    # --- where mutants are looked for -------------------------------------------------------------

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._inside([node.name], node.body)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        self._inside([node.name, "<locals>"], node.body)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._inside([node.name, "<locals>"], node.body)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
            self._drop(node, node.target)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Messages: what they say is for people."""

    def generic_visit(self, node: ast.AST) -> None:
        for name in ("body", "orelse", "finalbody"):
            statements = getattr(node, name, None)
            if isinstance(statements, list):
                self._swap(statements)
        super().generic_visit(node)

    def _inside(self, names: Sequence[str], body: list[ast.stmt]) -> None:
        self._around.extend(names)
        self._swap(body)
        for statement in body:
            self.visit(statement)
        del self._around[-len(names) :]

    # --- the edits --------------------------------------------------------------------------------

    def visit_Compare(self, node: ast.Compare) -> None:
        for index, operator in enumerate(node.ops):
            changed = copy.deepcopy(node)
            changed.ops[index] = _COMPARISONS[type(operator)]()
            self._add("comparison", node, f"({ast.unparse(changed)})")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        other: ast.boolop = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self._add("and/or", node, f"({ast.unparse(ast.BoolOp(other, node.values))})")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._add("condition", node, f"({ast.unparse(node.operand)})")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if (
            self._around
            and type(node.op) in _ARITHMETIC
            and not isinstance(node.left, ast.Constant | ast.JoinedStr)
        ):
            changed = ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
            self._add("arithmetic", node, f"({ast.unparse(changed)})")
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        if not isinstance(node.test, ast.Constant):
            self._negate(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for condition in node.ifs:
            self._negate(condition)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        match node.value:
            case bool() if self._around:
                self._add("constant", node, str(not node.value))
            case int() if self._around and self._around[-1] == "<locals>":
                self._add("constant", node, str(node.value + 1))
            case _:  # bounds and times are choices: another one breaks no promise
                pass

    def visit_Expr(self, node: ast.Expr) -> None:
        value = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(value, ast.Call):
            self._add("dropped call", node, "pass")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._drop(node, node.targets[0])
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._add("dropped assignment", node, "pass")
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and not isinstance(node.value, ast.Constant):
            self._add("return", node, "return None")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        # what it says never comes
        if node.exc is None or "AssertionError" not in ast.unparse(node.exc):
            self._add("removed raise", node, "pass")

    def visit_match_case(self, node: ast.match_case) -> None:
        is_rest = (
            isinstance(node.pattern, ast.MatchAs)
            and node.pattern.pattern is None
            and node.guard is None
        )
        if not is_rest or not isinstance(node.body[0], ast.Raise):  # of a match that is exhaustive
            self.generic_visit(node)

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            if isinstance(item.context_expr, ast.Call) and ast.unparse(
                item.context_expr.func
            ).endswith("suppress"):
                self._add("suppresses nothing", item.context_expr, "contextlib.suppress()")
        self.generic_visit(node)

    def _negate(self, test: ast.expr) -> None:
        if not isinstance(test, ast.Compare | ast.UnaryOp):  # these have edits of their own
            self._add("condition", test, f"(not ({ast.unparse(test)}))")

    def _drop(self, statement: ast.stmt, target: ast.expr) -> None:
        """An attribute or an item keeps what it was; a variable would only be unknown."""
        if (
            isinstance(target, ast.Attribute | ast.Subscript)
            and self._around
            and "__init__" not in self._around
        ):
            self._add("dropped assignment", statement, "pass")

    def _swap(self, statements: list[ast.stmt]) -> None:
        for first, second in pairwise(statements):
            steps = self._around and _is_step(first) and _is_step(second)
            if (
                not steps
                or not {ast.Expr} & {type(first), type(second)}
                or _made(first) & _used(second)
            ):
                continue
            between = self._text(
                first.end_lineno, first.end_col_offset, second.lineno, second.col_offset
            )
            old_first, old_second = (
                ast.get_source_segment(self._source, each) or "" for each in (first, second)
            )
            self._add_between("swapped", first, second, f"{old_second}{between}{old_first}")

    def _add(self, kind: str, node: ast.stmt | ast.expr, new: str) -> None:
        self._add_between(kind, node, node, new)

    def _add_between(
        self, kind: str, first: ast.stmt | ast.expr, last: ast.stmt | ast.expr, new: str
    ) -> None:
        start = self._offset(first.lineno, first.col_offset)
        end = self._offset(last.end_lineno or last.lineno, last.end_col_offset or 0)
        old, function = self._source[start:end], ".".join(self._around).removesuffix(".<locals>")
        line_end = last.end_lineno or last.lineno
        mutant = Mutant(self._file, function, kind, first.lineno, line_end, start, end, old, new)
        if old != new:
            self.found.append(mutant)

    def _text(self, line: int | None, column: int | None, line_end: int, column_end: int) -> str:
        return self._source[
            self._offset(line or 1, column or 0) : self._offset(line_end, column_end)
        ]

    def _offset(self, line: int, column_bytes: int) -> int:
        return self._starts[line - 1] + len(self._lines[line - 1].encode()[:column_bytes].decode())


def _functions(
    node: ast.AST, around: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], ast.stmt]]:
    """Every function of a module with its name, the outermost alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (*around, child.name), child
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, (*around, child.name))


def _is_step(statement: ast.stmt) -> bool:
    """Whether it does something by itself: a call, an attribute that is set, what a call gives."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Call | ast.Await)
    return isinstance(statement, ast.Assign) and any(
        isinstance(each, ast.Call | ast.Attribute) for each in ast.walk(statement)
    )


def _made(statement: ast.stmt) -> set[str]:
    return {
        each.id
        for each in ast.walk(statement)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }


def _used(statement: ast.stmt) -> set[str]:
    return {each.id for each in ast.walk(statement) if isinstance(each, ast.Name)}


def compiles(source: str) -> bool:
    """Whether Python takes it: a mutant that it does not take would be caught by everything."""
    try:
        compile(source, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True
