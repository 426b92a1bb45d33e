"""What a site file says of pw.x, by itself and held against the files that it names.

The SSSP library's JSON is read here, once: the table goes into the configuration as if it had been
written by hand, so that tasks carry it, and a file that is changed later changes nothing unseen.
"""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mlip_autopipec.contract.elements import CLOSED_SHELLS, SYMBOLS
from mlip_autopipec.contract.mistakes import Mistake, nearest, shown
from mlip_autopipec.contract.oracle import KMesh, OracleRules, OracleWishes, SiteFile
from mlip_autopipec.contract.values import check, given, read
from mlip_autopipec.work.codes.espresso.citations import ENTRIES
from mlip_autopipec.work.codes.espresso.settings import (
    DUAL_MIN,
    OWN_SYSTEM_KEYS,
    ElementSection,
    EspressoOracle,
    EspressoSection,
    EspressoSettings,
    Pseudopotential,
)

_FILES_ALIKE = 0.6
#: Where Debian's package has them.
_PSEUDO_FOLDER = Path("/usr/share/espresso/pseudo")


class EspressoRules(OracleRules[EspressoSection, EspressoOracle]):
    """Of pw.x."""

    def mistakes(self, section: EspressoSection, elements: tuple[str, ...]) -> Iterator[Mistake]:
        """Cutoffs that it takes, elements that there are, and no key that is ours."""
        if (
            section.ecutwfc_ry
            and section.ecutrho_ry
            and section.ecutrho_ry < DUAL_MIN * section.ecutwfc_ry
        ):
            expected = (
                f"expected at least {DUAL_MIN * section.ecutwfc_ry:g}, {DUAL_MIN:g} times"
                " ecutwfc_ry"
            )
            yield Mistake(("ecutrho_ry",), shown(section.ecutrho_ry), expected)
        for element in section.starting_magnetization if elements else ():
            if element not in elements:
                expected = f"expected one of campaign.elements ({', '.join(elements)})"
                yield Mistake(("starting_magnetization", element), shown(element), expected)
        for key in section.system:
            if key.partition("(")[0] in OWN_SYSTEM_KEYS:
                expected = "expected another key: this one is said by calculation.oracle's own"
                yield Mistake(("system", key), shown(section.system[key]), expected)
        if (message := _no_command(section.command)) is not None:
            yield Mistake(("command",), shown(section.command), message)

    def missing(self, section: EspressoSection, site_file: SiteFile) -> Iterator[Mistake]:
        """Pseudopotentials and cutoffs of each element.

        The files are looked at if the site is this machine.
        """
        table: Mapping[str, ElementSection] = section.pseudopotentials
        if section.sssp_file is not None:
            try:
                table = {**_published(site_file.absolute(section.sssp_file)), **table}
            except ValueError as error:
                yield Mistake(("sssp_file",), shown(str(section.sssp_file)), str(error))
                return
        folder = Path(section.pseudo_folder)
        names = (
            sorted(path.name for path in folder.iterdir())
            if site_file.here and folder.is_dir()
            else None
        )
        if site_file.here and names is None:
            yield Mistake(
                ("pseudo_folder",), shown(section.pseudo_folder), "expected a folder of UPF files"
            )
        for element in site_file.elements:
            if element in table:
                yield from _of_element(section, element, table[element], names)
            elif element in SYMBOLS:
                yield _missing(element, names)

    def settled(self, section: EspressoSection, elements: tuple[str, ...]) -> EspressoSection:
        """With the SSSP file's entries for the campaign's elements in the table.

        The file is named no more.
        """
        if section.sssp_file is None:
            return section
        published = _published(section.sssp_file)
        table = {element: published[element] for element in elements if element in published}
        return replace(
            section, sssp_file=None, pseudopotentials={**table, **section.pseudopotentials}
        )

    def oracle(
        self, section: EspressoSection, elements: Sequence[str], k_mesh: KMesh
    ) -> EspressoOracle:
        """One cutoff for all.

        A label of one element must mean the same as that of an alloy with a harder one.
        """
        used = {element: section.pseudopotentials[element] for element in elements}
        ecutwfc_ry = section.ecutwfc_ry or max(
            section.ecutwfc_ry or 0.0 for section in used.values()
        )
        least_ry = DUAL_MIN * ecutwfc_ry
        ecutrho_ry = section.ecutrho_ry or max(
            least_ry, *(section.ecutrho_ry or 0.0 for section in used.values())
        )
        return EspressoOracle(
            **given(section, EspressoSettings),
            pseudopotentials={
                element: Pseudopotential(file=section.file, sha256=section.sha256, md5=section.md5)
                for element, section in used.items()
            },
            ecutwfc_ry=ecutwfc_ry,
            ecutrho_ry=ecutrho_ry,
            k_mesh=section.k_mesh or k_mesh,
        )

    def no_isolated_atoms(self, section: EspressoSection, elements: Sequence[str]) -> Iterator[str]:
        """An open shell wants smearing, and an atom with a charge is an ion."""
        open_shells = [
            element for element in elements if element in SYMBOLS and element not in CLOSED_SHELLS
        ]
        if section.smearing is None and open_shells:
            yield (
                "expected with calculation.oracle.smearing, or energies by hand: with fixed"
                " occupations pw.x finds no ground state of an atom with open shells"
                f" ({', '.join(open_shells)})"
            )
        if section.charge:
            yield (
                "expected with calculation.oracle.charge 0, or energies by hand:"
                f" {section.charge:g} makes ions of atoms"
            )

    def citations(self, section: EspressoSection) -> Mapping[str, str]:
        """Both papers, as its authors ask."""
        del section
        return ENTRIES

    def first_section(self, wishes: OracleWishes) -> str:
        """With the files of the folder that are named for the elements, if it is here."""
        where = wishes.pseudo_folder or _PSEUDO_FOLDER
        lines = [
            "  oracle:",
            "    kind: espresso",
            (
                "    command: pw.x             # ranks and launcher stand in"
                " site.resources.calculation"
            ),
            f"    pseudo_folder: {where}   # full path of the UPF files, where the jobs run",
        ]
        if wishes.sssp_file is not None:
            file = wishes.relative(wishes.sssp_file)
            lines += [f"    sssp_file: {file}   # files, md5 sums and cutoffs as published"]
        else:
            lines += [
                (
                    "    # sssp_file: SSSP_1.3.0_PBE_efficiency.json   # as published, in the"
                    " place of the next lines"
                ),
                (
                    "    pseudopotentials:         # replace cutoffs, and file names where they are"
                    " not yours"
                ),
                *(
                    (
                        f"      {element}: {{file: {_upf(where, element)}, ecutwfc_ry: 60,"
                        " ecutrho_ry: 480}"
                    )
                    for element in wishes.elements
                ),
            ]
        finer = "with the 2π; `autopipecctl doctor --oracle` tries finer ones"
        lines += [f"    k_spacing_inverse_angstrom: 0.2   # {finer}"]
        smearing = "null" if wishes.insulator else "{kind: mv, width_ry: 0.02}"
        lines += [f"    smearing: {smearing}   # of metals; null for insulators", ""]
        return "\n".join(lines)

    def first_resources(self, *, cluster: bool) -> str:
        """It runs under MPI."""
        if cluster:
            prologue = "launcher: srun, prologue: [module load qe]"
            return f"    calculation: {{ranks: 16, memory: 32 GiB, walltime: 2 h, {prologue}}}"
        return "    calculation: {ranks: 1, memory: 4 GiB, walltime: 2 h}"


def _no_command(command: str) -> str | None:
    """Why this starts nothing; None if it may."""
    try:
        arguments = shlex.split(command)
        filled = command.format(cores=1, ranks=1)
    except (ValueError, KeyError, IndexError, AttributeError):
        return "expected words as in a shell, with no other braces than {cores} and {ranks}"
    return None if arguments and filled.strip() else "expected a program such as pw.x"


def _of_element(
    section: EspressoSection, element: str, declared: ElementSection, names: list[str] | None
) -> Iterator[Mistake]:
    path = ("pseudopotentials", element)
    if names is not None and declared.file not in names:
        expected = f"expected a file of {section.pseudo_folder}"
        yield Mistake(
            (*path, "file"),
            shown(declared.file),
            expected,
            nearest(declared.file, names, _FILES_ALIKE),
        )
    if section.ecutwfc_ry is None and declared.ecutwfc_ry is None:
        yield Mistake(
            (*path, "ecutwfc_ry"),
            "missing",
            "required: its cutoff in Ry, or calculation.oracle.ecutwfc_ry",
        )


def _missing(element: str, names: list[str] | None) -> Mistake:
    """The nearest file is one that is named for the element."""
    own = [
        name
        for name in names or ()
        if name.startswith((f"{element}.", f"{element}_", f"{element}-"))
    ]
    expected = f"expected a pseudopotential for {element}"
    return Mistake(("pseudopotentials",), f"no {element}", expected, own[0] if own else None)


def _published(path: Path) -> Mapping[str, ElementSection]:
    """The table of an SSSP file. Raises ValueError in the words of a mistake."""
    try:
        content = json.loads(path.read_bytes())
        return {element: _entry(entry) for element, entry in content.items()}
    except OSError as error:
        raise ValueError(f"expected a file that can be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"expected JSON: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise ValueError(
            f"expected filename, md5, cutoff_wfc and cutoff_rho by element, as SSSP has it ({what})"
        ) from error


def _entry(declared: Mapping[str, object]) -> ElementSection:
    entry = read(
        ElementSection,
        {
            "file": declared["filename"],
            "md5": declared["md5"],
            "ecutwfc_ry": declared["cutoff_wfc"],
            "ecutrho_ry": declared["cutoff_rho"],
        },
    )
    check(entry)
    return entry


def _upf(folder: Path, element: str) -> str:
    """The file that is named for the element, if the folder is here; PBE before others."""
    prefixes = tuple(f"{element.lower()}{mark}" for mark in "._-")
    names = (
        [path.name for path in folder.glob("*") if path.suffix.lower() == ".upf"]
        if folder.is_dir()
        else []
    )
    own = sorted(
        (name for name in names if name.lower().startswith(prefixes)),
        key=lambda name: ("pbe" not in name, name),
    )
    return own[0] if own else f"{element}.upf"
