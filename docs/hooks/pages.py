"""Pages made as MkDocs builds: the reference, from code, and the documents of the checkout's top.

What is generated here can't go stale, so it lies in no file.
"""

import contextlib
import io
import re
import types
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer.main
from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from ruamel.yaml import YAML

from mlip_autopipec.answers import ANSWERS, schema_of
from mlip_autopipec.cli import app
from mlip_autopipec.config.schemas.units import (
    format_duration,
    format_memory,
    parse_duration_s,
    parse_memory_mib,
)
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.config.shape import fields_of, is_model
from mlip_autopipec.contract.seams import OneOf

TOP = Path(__file__).parents[2]
#: Page → document of the checkout's top.
DOCUMENTS = {
    "developers/architecture.md": "ARCHITECTURE.md",
    "developers/contributing.md": "CONTRIBUTING.md",
    "developers/conduct.md": "CODE_OF_CONDUCT.md",
    "developers/security.md": "SECURITY.md",
    "developers/changelog.md": "CHANGELOG.md",
}
#: Section, as its anchor → key → a value that a site file may have there. Keys that hold sections
#: have none.
EXAMPLES: Mapping[str, Mapping[str, Any]] = YAML(typ="safe").load(
    Path(__file__).with_name("examples.yaml")
)
#: The last words of a key → its unit. Longer ones first.
UNITS = (
    ("_mev_per_angstrom", "meV/Å"),
    ("_ev_per_angstrom", "eV/Å"),
    ("_mev_per_atom", "meV/atom"),
    ("_ry_per_atom", "Ry/atom"),
    ("_inverse_angstrom", "1/Å"),
    ("_angstrom", "Å"),
    ("_kelvin", "K"),
    ("_gpa", "GPa"),
    ("_thz", "THz"),
    ("_per_ps", "1/ps"),
    ("_fs", "fs"),
    ("_ev", "eV"),
    ("_ry", "Ry"),
)


#: Of keys whose name says nearly all of it, so that the schema adds no words.
MEANINGS = {
    "kind": "which of the kinds this is",
    "account": "as site.scheduler says if left out",
    "qos": "Slurm's quality of service; the user's default if left out",
    "constraint": "features that nodes must have",
    "structure": "the kind of crystal",
    "lattice_constant_angstrom": "of the conventional cell",
    "repeat": "of the conventional cell, along its vectors",
    "thickness_angstrom": "of the slab",
    "ensemble": "nvt keeps the volume, npt the pressure",
    "barostat": "npt only: which parts of the box may change",
    "temperatures_kelvin": "one walker for each, per pressure and replica",
    "pressures_gpa": "npt only; one walker for each",
    "timestep_fs": "of MD",
    "md_timestep_fs": "of the gate's short MD",
    "md_temperature_kelvin": "of the gate's short MD",
    "arguments": "what the calculator is made with",
    "width_ry": "of the smearing",
}


#: Where `kind` doesn't say which section this is.
_KIND_IS_A_SETTING = frozenset({"Smearing"})


def on_files(files: Any, config: Any) -> Any:
    """MkDocs calls this once it has found the pages of docs/."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - tests of this file need no MkDocs

    for page, text in generated().items():
        files.append(File.generated(config, page, content=text))
    return files


def generated() -> Mapping[str, str]:
    """Every generated page by its path."""
    pages = {
        "reference/site-file.md": site_file_reference(),
        "reference/commands.md": command_reference(),
    }
    pages["reference/json.md"] = json_reference()
    for page, document in DOCUMENTS.items():
        pages[page] = linked((TOP / document).read_text(encoding="utf-8"))
    return pages


def linked(text: str) -> str:
    """A document of the top as a page one folder down.

    Links into docs/ stay links; others become names.
    """
    text = re.sub(r"\]\(docs/", "](../", text)
    here = {document: page.rpartition("/")[2] for page, document in DOCUMENTS.items()}
    return re.sub(
        r"\[([^]]*)\]\(([A-Z_]+\.md|LICENSE|[\w./-]+/)\)",
        lambda found: (
            f"[{found[1]}]({here[found[2]]})" if found[2] in here else f"{found[1]} (`{found[2]}`)"
        ),
        text,
    )


# --- the site file --------------------------------------------------------------------------------


def site_file_reference() -> str:
    """One table for each section, in the order in which a reader meets them."""
    lines = [
        "# The site file",
        "",
        (
            "Every key, made from the schema that the program itself uses. `autopipecctl config"
            " schema` prints it as JSON"
        ),
        (
            "Schema, for editors; `autopipecctl config check --effective` prints your file with"
            " every default."
        ),
        (
            "Times and amounts of memory are written with their unit (`20 min`, `2 h`,"
            " `0-02:00:00`, `512 MiB`, `2 GiB`);"
        ),
        "every other quantity has its unit in the name of its key. Paths are relative to the file.",
        "Examples show how a value is written; they are no advice, and need not go together.",
        "",
    ]
    for where, model in _sections(WorkflowConfig):
        title = (f"`{where}`" if where else "The whole") + _kind(model)
        lines += [f"## {title} {{: #{_anchor(model)} }}", "", _docstring(model), ""]
        lines += [
            "| key | type | unit | default | example | meaning |",
            "|---|---|---|---|---|---|",
        ]
        examples = EXAMPLES.get(_anchor(model), {})
        lines += [_row(key, field, examples) for key, field in fields_of(model).items()]
        lines += [""]
    return "\n".join(lines)


def _sections(root: type) -> Iterator[tuple[str, type]]:
    """Each model once, under the path where it is met first."""
    seen: set[type] = set()
    waiting: list[tuple[str, type]] = [("", root)]
    while waiting:
        where, model = waiting.pop(0)
        if model in seen:
            continue
        seen.add(model)
        yield where, model
        below = []
        for key, field in fields_of(model).items():
            path = f"{where}.{key}" if where else key
            below += [(path, inner) for inner in _models(field.rebuild_annotation())]
        waiting = below + waiting


def _models(annotation: Any) -> Iterator[type]:
    if is_model(annotation):
        yield annotation
    if get_origin(annotation) is Annotated and (choice := _choice(get_args(annotation)[1:])):
        yield from choice.members().values()
        return
    if get_origin(annotation) in {Union, types.UnionType} and str in get_args(annotation):
        return  # what may be a word is no section, and what else it may be has been told
    for argument in get_args(annotation):
        yield from _models(argument)


def _choice(metadata: Any) -> OneOf | None:
    """Any of the codes that the registry has."""
    return next((each for each in metadata if isinstance(each, OneOf)), None)


def _anchor(model: type) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", model.__name__.strip("_")).lower()


def _kind(model: type) -> str:
    """Which of several that may stand there, as `kind` says."""
    kind = fields_of(model).get("kind")
    kinds = (
        get_args(kind.annotation)
        if kind is not None and model.__name__ not in _KIND_IS_A_SETTING
        else ()
    )
    return f", kind {' or '.join(kinds)}" if kinds else ""


def _docstring(model: type) -> str:
    """Its first paragraph, without the name of the section that some begin with."""
    said = re.sub(r"\s+", " ", (model.__doc__ or "").strip().partition("\n\n")[0])
    return re.sub(r"^`[\w.]+:` (\w)", lambda found: found[1].upper(), said)


def _row(key: str, field: FieldInfo, examples: Mapping[str, Any]) -> str:
    unit = next((unit for ending, unit in UNITS if key.endswith(ending)), "")
    meaning = (
        field.description
        or MEANINGS.get(key)
        or " ".join(_docstring(model) for model in _models(field.rebuild_annotation()))
    )
    example = f"`{_in_yaml(examples[key])}`" if key in examples else "see there"
    cells = (
        f"`{key}`",
        _type(field.annotation, field.metadata),
        unit,
        _default(field),
        example,
        meaning,
    )
    return "| " + " | ".join(re.sub(r"\s+", " ", cell).replace("|", "\\|") for cell in cells) + " |"


def _in_yaml(value: Any) -> str:
    """As it stands behind its key, on one line."""
    line = io.StringIO()
    writer = YAML()
    writer.default_flow_style, writer.width = True, 10_000
    writer.dump({"key": value}, line)
    return line.getvalue().strip().removeprefix("{key: ").removesuffix("}")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or is_model(type(value)):
        return "its defaults"
    if _is(field.metadata, parse_duration_s):
        return f"`{format_duration(value)}`"
    if _is(field.metadata, parse_memory_mib):
        return f"`{format_memory(value)}`"
    return f"`{_written(value)}`" if value != "" else "empty"


def _written(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if is_model(type(value)):
        return (
            "{"
            + ", ".join(f"{key}: {_written(getattr(value, key))}" for key in fields_of(type(value)))
            + "}"
        )
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_written, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is(metadata: Any, parser: Any) -> bool:
    return any(getattr(each, "func", None) is parser for each in metadata)


_PLAIN = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    Path: "path",
    Any: "anything",
}


def _type(annotation: Any, metadata: Any = ()) -> str:  # noqa: C901, PLR0911 - one case for each kind of annotation
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _type(
            inner,
            [
                each
                for note in more
                for each in (note.metadata if isinstance(note, FieldInfo) else [note])
            ],
        )
    if choice := _choice(metadata):
        pieces = [f"`{word}`" for word in choice.literals]
        return " or ".join([*pieces, *(_type(member) for member in choice.members().values())])
    if _is(metadata, parse_duration_s):
        return "time"
    if _is(metadata, parse_memory_mib):
        return "memory"
    arguments = get_args(annotation)
    match get_origin(annotation):
        case None if is_model(annotation):
            return f"[{_anchor(annotation).replace('-', ' ')}](#{_anchor(annotation)})"
        case None:
            return " ".join([_PLAIN.get(annotation) or _choices(annotation), *_bounds(metadata)])
        case origin if origin in {Union, types.UnionType}:
            parts = [_type(each, metadata) for each in arguments if each is not type(None)]
            return " or ".join(
                dict.fromkeys([*parts, *(["null"] if type(None) in arguments else [])])
            )
        case origin if origin is Literal:
            return ", ".join(f"`{_written(each)}`" for each in arguments)
        case origin if origin is tuple and Ellipsis in arguments:
            least = [
                f", at least {each.min_length}" for each in metadata if isinstance(each, MinLen)
            ]
            return f"list of {_type(arguments[0])}" + "".join(least)
        case origin if origin is tuple:
            return f"list of {len(arguments)}: {_type(arguments[0])}"
        case origin if origin is dict:
            return f"by {_type(arguments[0])}: {_type(arguments[1])}"
    raise TypeError(f"nobody has said how to write {annotation}")


def _choices(kind: Any) -> str:
    """An enumeration's values."""
    return ", ".join(f"`{each}`" for each in kind)


def _bounds(metadata: Any) -> Iterator[str]:
    for each in metadata:
        match each:
            case Ge():
                yield f"≥ {each.ge:g}"
            case Gt():
                yield f"> {each.gt:g}"
            case Le():
                yield f"≤ {each.le:g}"
            case Lt():
                yield f"< {each.lt:g}"
            case _:
                pass


# --- answers --------------------------------------------------------------------------------------


def json_reference() -> str:
    """What each command answers with --json: its fields, by the schema of `autopipecctl schema`."""
    lines = [
        "# Answers as JSON",
        "",
        (
            "With `--json` each command prints one document, or one line for each event or line of"
            " a log."
        ),
        (
            "`autopipecctl schema COMMAND` prints the JSON Schema of it (2020-12), made from the"
            " models that the"
        ),
        "program itself uses; here are its fields. Messages for people go to standard error.",
        "",
    ]
    found: set[str] = set()
    for command in ANSWERS:
        schema = schema_of(command)
        lines += [f"## {command}", "", *_json_table(schema, schema.get("$defs", {}), found)]
    return "\n".join(lines)


def _json_table(
    schema: Mapping[str, Any], parts: Mapping[str, Any], found: set[str]
) -> Iterator[str]:
    """What a document is, its fields and those of parts that it names, each once on the page."""
    if said := re.sub(r"\s+", " ", schema.get("description", "")).strip():
        yield from (said, "")
    if "properties" not in schema:
        yield from (f"{_json_type(schema, parts)}.".capitalize(), "")
    else:
        yield from ("| field | type | meaning |", "|---|---|---|")
        for name, field in schema["properties"].items():
            cells = (f"`{name}`", _json_type(field, parts), field.get("description", ""))
            yield (
                "| "
                + " | ".join(re.sub(r"\s+", " ", cell).replace("|", "\\|") for cell in cells)
                + " |"
            )
        yield ""
    named = re.findall(
        r"#/\$defs/(\w+)",
        str(schema.get("properties", schema.get("items", schema.get("anyOf", "")))),
    )
    for name in dict.fromkeys(named):
        if (
            name not in found
            and "properties" in parts.get(name, {})
            and len(set(named)) <= _PARTS_MAX
        ):
            found.add(name)
            yield from (f"### {_called(name)}", "")
            yield from _json_table(parts[name], parts, found)


def _called(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name.strip("_")).lower()


def _json_type(field: Mapping[str, Any], parts: Mapping[str, Any]) -> str:  # noqa: PLR0911 - one case for each kind of schema
    """A schema in a few words; what is more stands in the schema itself."""
    match field:
        case {"$ref": ref}:
            name = ref.rpartition("/")[2]
            return (
                _json_type(parts[name], parts) if "enum" in parts.get(name, {}) else _called(name)
            )
        case {"anyOf": among} | {"oneOf": among}:
            kinds = list(dict.fromkeys(_json_type(part, parts) for part in among))
            return " or ".join(kinds) if len(kinds) <= _KINDS_MAX else f"one of {len(kinds)} kinds"
        case {"const": value}:
            return f"`{value}`"
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"type": "array", "items": items}:
            return f"list of {_json_type(items, parts)}"
        case {"type": "object", "additionalProperties": {**inner}}:
            return f"by name: {_json_type(inner, parts)}"
        case {"type": "string", "format": "date-time"}:
            return "time"
        case {"type": kind}:
            return {"integer": "whole number", "string": "text", "boolean": "true or false"}.get(
                kind, kind
            )
    return "list" if "prefixItems" in field else "anything"


_KINDS_MAX = 4
#: Of a document with more, such as the state or an event, the schema alone says it all.
_PARTS_MAX = 20


# --- commands -------------------------------------------------------------------------------------


def command_reference() -> str:
    """Every subcommand with its options, as its own help has them."""
    lines = [
        "# Commands",
        "",
        (
            "Made from the programs themselves. What they end with stands under [exit"
            " codes](exit-codes.md)."
        ),
        "",
        "## autopipecd",
        "",
        "```text",
        _help_of("autopipecd").strip(),
        "```",
        "",
        "## autopipecctl",
        "",
        (
            "The site file may also stand in `AUTOPIPEC_CONFIG`; `--config` and `--socket` may"
            " stand before the command."
        ),
        "",
    ]
    for name, command in _commands("autopipecctl", typer.main.get_command(app)):
        said = re.sub(r"[ \t]*\n[ \t]*", "\n", (command.help or "").strip())
        spelled = {param.name: _spelled(param) for param in command.params if param.name != "help"}
        arguments = [
            spelled[param.name] for param in command.params if param.param_type_name == "argument"
        ]
        lines += [f"### {' '.join([name, *arguments])}", "", said, ""]
        for param in command.params:
            if param.name in spelled:
                lines += [
                    (
                        f"- `{spelled[param.name]}`:"
                        f" {getattr(param, 'help', None) or ''}{_default_of(param)}"
                    )
                ]
        lines += [""]
    return "\n".join(lines)


def _spelled(param: Any) -> str:
    return (
        param.name.upper()
        if param.param_type_name == "argument"
        else ", ".join(sorted(param.opts, key=len)[::-1])
    )


def _default_of(param: Any) -> str:
    value = param.default
    plain = isinstance(value, int | str | Path) and not isinstance(value, bool) and value != ""
    return f" (default: `{value}`)" if plain else ""


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for word in inner:
        yield from _commands(f"{name} {word}", inner[word])


def _help_of(program: str) -> str:
    (entry,) = entry_points(group="console_scripts", name=program)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        entry.load()(["--help"])
    return said.getvalue()
