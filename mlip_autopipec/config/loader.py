"""site.yaml: read it, tell every mistake at once, and write it out with every default filled in."""

import copy
import hashlib
import json
import os.path
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from mlip_autopipec.config.complaints import read, validated
from mlip_autopipec.config.oracles import settled, wrong_oracle
from mlip_autopipec.config.paths import anchored, missing_files, unusable_folders
from mlip_autopipec.config.rules.table import broken_rules
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.config.source import Source, parse
from mlip_autopipec.contract.mistakes import KeyPath, Mistake, dotted, nearest, report
from mlip_autopipec.errors import ConfigurationError

_NEXT_LINE = "\x85"
_ALIKE = 0.8  # of file names, which have their suffix in common


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A site file without mistakes; its paths are absolute."""

    config: WorkflowConfig
    path: Path
    #: Of what the file means: spacing, comments, the order of keys and spelled-out defaults do not
    #: change it.
    sha256: str


def load_config(path: Path) -> LoadedConfig:
    """Read a site file. Raises ConfigurationError, whose message has a line for each mistake in it.

    Relative paths are relative to the folder of the file, `~` is the user's home.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute leaves `..` in
    return _judged(path, parse(_text(path)), path.name)


def load_changed(path: Path, changes: Mapping[KeyPath, str]) -> LoadedConfig:
    """Read a site file with some values changed; each new one is text, as it would stand there.

    Raises ConfigurationError as load_config does: the file is judged whole.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - as above
    source = parse(_text(path))
    if source.data is None:
        return _judged(path, source, path.name)
    data: dict[str, Any] = copy.deepcopy(dict(source.data))
    lines = dict(source.lines)
    for where, text in changes.items():
        value = parse(f"value: {text}")
        if value.data is None or value.mistakes:
            raise ConfigurationError(f"{dotted(where)}={text}: {text!r} is no value of YAML")
        section: Any = data
        for part in where[:-1]:
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                raise ConfigurationError(f"{dotted(where)}={text}: {part} is no section of keys")
        section[where[-1]] = value.data["value"]
        lines.setdefault(
            where,
            next((lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in lines), 1),
        )
    return _judged(path, replace(source, data=data, lines=lines), f"{path.name}, changed")


def _judged(path: Path, source: Source, name: str) -> LoadedConfig:
    mistakes = list(source.mistakes)
    if source.data is not None:
        reading = read(WorkflowConfig, source.data)
        right = reading.right()
        mistakes += [mistake for mistake in reading.mistakes if mistake.path not in source.refused]
        found = (
            *broken_rules(right),
            *unusable_folders(right, path.parent),
            *missing_files(right, path.parent),
            *wrong_oracle(right, path.parent),
        )
        mistakes += reading.spelled(found)
    if mistakes:
        raise _refusal(path, mistakes, name, source.lines)
    config = settled(anchored(validated(WorkflowConfig, source.data), path.parent))
    return LoadedConfig(config, path, _sha256(config))


def refusal(path: Path, mistakes: Sequence[Mistake]) -> ConfigurationError:
    """The error that tells these mistakes of a site file, each with its line."""
    return _refusal(path, mistakes, path.name, parse(_text(path)).lines)


def _refusal(
    path: Path, mistakes: Sequence[Mistake], name: str, lines: Mapping[KeyPath, int]
) -> ConfigurationError:
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    return ConfigurationError(f"{path} has {count}:\n{report(name, mistakes, lines)}")


def effective_yaml(config: WorkflowConfig) -> str:
    """The configuration, defaults and all, as a site file that load_config reads back the same."""
    return yaml_of(config.model_dump(mode="json"))


def yaml_of(value: object) -> str:
    """Plain values as a site file is laid out."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.indent(sequence=4, offset=2)
    stream = StringIO()
    yaml.dump(_laid_out(value), stream)
    return stream.getvalue()


def json_schema() -> dict[str, object]:
    """JSON Schema of site.yaml, for editors that check a file while it is written."""
    schema = WorkflowConfig.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "site.yaml",
    }


def _text(path: Path) -> str:
    """The file's text. Raises ConfigurationError if there is no file that can be read as UTF-8."""
    try:
        content = path.read_bytes()
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise ConfigurationError(
            f"{path.name}:{line}  byte 0x{byte:02x} → expected text in UTF-8 ({path})"
        ) from None
    except FileNotFoundError:
        raise ConfigurationError(f"{path} does not exist{_neighbour(path)}") from None
    except IsADirectoryError:
        raise ConfigurationError(f"{path} is a folder; a site file is expected") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error


def _neighbour(path: Path) -> str:
    """A question, if a file of nearly this name is there; else how to get one."""
    names = [entry.name for entry in path.parent.glob("*.y*ml")]
    suggestion = nearest(path.name, names, _ALIKE)
    return (
        f"; did you mean {suggestion!r}?"
        if suggestion
        else "; `autopipecctl config init` writes a first one"
    )


class _Representer(RoundTripRepresenter):
    """Says `null` where ruamel would leave the value out.

    Escapes a line break that ruamel takes for a plain letter.
    """

    def text(self, value: str) -> ScalarNode:
        style = '"' if _NEXT_LINE in value else None
        node: ScalarNode = self.represent_scalar("tag:yaml.org,2002:str", value, style=style)
        return node


_Representer.add_representer(
    type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null")
)
_Representer.add_representer(str, _Representer.text)


def _laid_out(value: object) -> object:
    """Sections in block style, lists of plain values on one line."""
    if isinstance(value, dict):
        return {key: _laid_out(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    laid_out = CommentedSeq([_laid_out(item) for item in value])
    if not any(isinstance(item, dict | list) for item in value):
        laid_out.fa.set_flow_style()
    return laid_out


def _sha256(config: WorkflowConfig) -> str:
    dumped = config.model_dump(mode="json")
    for name in ("dataset", "start"):
        if dumped[name] is None:  # a site file of before there was the section means the same
            del dumped[name]
    content = json.dumps(dumped, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
