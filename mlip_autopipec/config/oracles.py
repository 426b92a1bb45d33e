"""What a site file says of pw.x, held against the files that it names.

The SSSP library's JSON is read here, once: the table goes into the configuration as if it had been written by hand, so
that tasks carry it, and a file that is changed later changes nothing unseen.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mlip_autopipec.config.paths import absolute_path, is_here
from mlip_autopipec.config.schemas.oracles import ElementSection, EspressoSection
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.elements import SYMBOLS
from mlip_autopipec.contract.mistakes import KeyPath, Mistake, nearest, shown

_ORACLE: KeyPath = ("calculation", "oracle")
_ELEMENT = TypeAdapter(ElementSection)
_SYMBOLS_ALIKE = 0.4  # of a file's name and an element's symbol, which is short
_FILES_ALIKE = 0.6


def with_table(config: WorkflowConfig) -> WorkflowConfig:
    """The same with the SSSP file's entries for the campaign's elements in the table; the file is named no more."""
    oracle = config.calculation.oracle
    if not isinstance(oracle, EspressoSection) or oracle.sssp_file is None:
        return config
    published = _published(oracle.sssp_file)
    table = {element: published[element] for element in config.campaign.elements if element in published}
    changed = replace(oracle, sssp_file=None, pseudopotentials={**table, **oracle.pseudopotentials})
    section = config.calculation.model_copy(update={"oracle": changed})
    return config.model_copy(update={"calculation": section})


def wrong_oracle(right: Mapping[str, Any], base: Path) -> Iterator[Mistake]:
    """What pw.x would miss. Values are keyed `section.key`; looks at the file system if the site is this machine."""
    oracle = right.get("calculation.oracle")
    if not isinstance(oracle, EspressoSection):
        return
    table: Mapping[str, ElementSection] = oracle.pseudopotentials
    if oracle.sssp_file is not None:
        try:
            table = {**_published(absolute_path(str(oracle.sssp_file), base)), **table}
        except ValueError as error:
            yield Mistake((*_ORACLE, "sssp_file"), shown(str(oracle.sssp_file)), str(error))
            return
    here = "site.transport" in right and is_here(right["site.transport"])
    folder = Path(oracle.pseudo_folder)
    names = sorted(path.name for path in folder.iterdir()) if here and folder.is_dir() else None
    if here and names is None:
        yield Mistake((*_ORACLE, "pseudo_folder"), shown(oracle.pseudo_folder), "expected a folder of UPF files")
    for element in right.get("campaign.elements", ()):
        if element in table:
            yield from _of_element(oracle, element, table[element], names)
        elif element in SYMBOLS:
            yield _missing(element, names)


def _of_element(
    oracle: EspressoSection, element: str, one: ElementSection, names: list[str] | None
) -> Iterator[Mistake]:
    path = (*_ORACLE, "pseudopotentials", element)
    if names is not None and one.file not in names:
        expected = f"expected a file of {oracle.pseudo_folder}"
        yield Mistake((*path, "file"), shown(one.file), expected, nearest(one.file, names, _FILES_ALIKE))
    if oracle.ecutwfc_ry is None and one.ecutwfc_ry is None:
        yield Mistake((*path, "ecutwfc_ry"), "missing", "required: its cutoff in Ry, or calculation.oracle.ecutwfc_ry")


def _missing(element: str, names: list[str] | None) -> Mistake:
    """The nearest file is one that is named for the element."""
    own = [name for name in names or () if name.startswith((f"{element}.", f"{element}_", f"{element}-"))]
    where = (*_ORACLE, "pseudopotentials")
    return Mistake(where, f"no {element}", f"expected a pseudopotential for {element}", own[0] if own else None)


def _published(path: Path) -> Mapping[str, ElementSection]:
    """The table of an SSSP file. Raises ValueError in the words of a mistake."""
    try:
        content = json.loads(path.read_bytes())
        return {
            element: _ELEMENT.validate_python(
                {
                    "file": one["filename"],
                    "md5": one["md5"],
                    "ecutwfc_ry": one["cutoff_wfc"],
                    "ecutrho_ry": one["cutoff_rho"],
                }
            )
            for element, one in content.items()
        }
    except OSError as error:
        raise ValueError(f"expected a file that can be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"expected JSON: {error}") from error
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        what = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise ValueError(
            f"expected filename, md5, cutoff_wfc and cutoff_rho by element, as SSSP has it ({what})"
        ) from error
