"""VASP's ionic steps whose electrons did not converge: they look like any others but are no labels.

VASP goes on after NELM electronic steps as if nothing had been, and ASE's readers say nothing of
it.
"""

import gzip
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

#: Of an OUTCAR: an electronic step, with its number in the ionic step; what VASP 6 says where the
#: last was not enough; and the end of an ionic step, by which ASE counts frames.
_ELECTRONIC = re.compile(r"Iteration\s+\d+\(\s*(\d+)\)")
_NOT_REACHED = "EDIFF was not reached"
_IONIC = "FREE ENERGIE OF THE ION-ELECTRON SYSTEM"
_NELM = re.compile(r"^\s*NELM\s*=\s*(\d+)\s*;")


def unconverged(path: Path, form: str) -> Mapping[int, str]:
    """What is wrong, by the number of the frame (from 1); empty for other formats."""
    if form == "vasp-xml":
        return dict(_of_xml(path))
    if form == "vasp-out":
        return dict(_of_outcar(path))
    return {}


def _of_xml(path: Path) -> Iterator[tuple[int, str]]:
    """An ionic step that took all of NELM electronic steps has not converged.

    A file that was cut off just ends.
    """
    steps_max, number = 0, 0
    with _opened(path) as stream:
        try:
            for _, element in ET.iterparse(stream):  # noqa: S314 - a file of the user's own, which ASE reads so, too
                if element.tag == "i" and element.get("name") == "NELM":
                    steps_max = int(element.text or 0)
                elif element.tag == "calculation":
                    number += 1
                    if 0 < steps_max <= len(element.findall("scstep")):
                        yield number, _text(steps_max)
                    element.clear()
        except ET.ParseError:
            return


def _of_outcar(path: Path) -> Iterator[tuple[int, str]]:
    """The same; VASP 5 says of both that EDIFF is reached.

    So electronic steps are counted here, too.
    """
    steps_max, number, steps, missed = 0, 0, 0, False
    with _opened(path) as stream:
        for line in stream:
            if found := _ELECTRONIC.search(line):
                steps = int(found[1])
            elif found := _NELM.match(line):
                steps_max = int(found[1])
            elif _NOT_REACHED in line:
                missed = True
            elif _IONIC in line:
                number += 1
                if missed or 0 < steps_max <= steps:
                    yield number, _text(steps_max)
                steps, missed = 0, False


def _text(steps_max: int) -> str:
    within = f" in {steps_max} steps (NELM)" if steps_max else ""
    return (
        f"electrons that did not converge{within}: calculate it again with more steps or another"
        " mixing"
    )


def _opened(path: Path) -> TextIO:
    """A file as ASE reads it, also if it is packed by gzip."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", errors="replace")
    return path.open(encoding="utf-8", errors="replace")
