"""What gives a label by pw.x its meaning, as one fingerprint.

It is a hash over pw.x's version, the content of every pseudopotential of the campaign, and every
setting that the answer depends on. Numerical settings, which only decide how it is found, are not
in it, nor is how pw.x is started. Labels of different fingerprints are never trained on together.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlip_autopipec.contract.values import plain
from mlip_autopipec.work.codes.espresso.settings import EspressoOracle, Pseudopotential
from mlip_autopipec.work.job import TaskFailed, sha256_of, write_atomic

#: What an oracle says besides its physics.
_HOW = (
    "kind",
    "command",
    "pseudo_folder",
    "pseudopotentials",
    "mixing_beta",
    "electron_maxstep",
    "tries_max",
)
_DIGITS = 12


def check_pseudopotentials(oracle: EspressoOracle, elements: Sequence[str]) -> dict[str, str]:
    """SHA-256 of every pseudopotential, by element.

    Raises TaskFailed (bad_input) for one that is not as asked.
    """
    table = oracle.pseudopotentials
    if missing := [element for element in elements if element not in table]:
        raise TaskFailed("bad_input", f"no pseudopotential for {', '.join(missing)}")
    return {
        element: _checked(Path(oracle.pseudo_folder), element, file)
        for element, file in sorted(table.items())
    }


def _checked(folder: Path, element: str, wanted: Pseudopotential) -> str:
    path = folder / wanted.file
    try:
        sha256 = sha256_of(path)
        with path.open("rb") as stream:
            md5 = hashlib.file_digest(
                stream, lambda: hashlib.md5(usedforsecurity=False)
            ).hexdigest()
    except OSError as error:
        raise TaskFailed(
            "bad_input", f"pseudopotential of {element}: {path}: {error.strerror}"
        ) from error
    for name, found, expected in (("sha256", sha256, wanted.sha256), ("md5", md5, wanted.md5)):
        if expected not in {None, found}:
            message = (
                f"pseudopotential of {element}: {path} has {name} {found}, expected {expected}"
            )
            raise TaskFailed("bad_input", message)
    return sha256


def settings(oracle: EspressoOracle, hashes: Mapping[str, str], version: str, folder: Path) -> str:
    """The fingerprint with its main parts in words; `settings.json` in the folder has all of it."""
    meaning = {
        "code": "pw.x",
        "version": version,
        "pseudopotentials_sha256": dict(hashes),
        "nosym": True,
        **{name: value for name, value in plain(oracle).items() if name not in _HOW},
    }
    content = json.dumps(meaning, sort_keys=True)
    write_atomic(
        folder / "settings.json", f"{json.dumps(meaning, indent=1, sort_keys=True)}\n".encode()
    )
    digest = hashlib.sha256(content.encode()).hexdigest()[:_DIGITS]
    return f"pw.x {version} {digest} ({_description(oracle)})"


def _description(oracle: EspressoOracle) -> str:
    files = ", ".join(
        pseudopotential.file for _, pseudopotential in sorted(oracle.pseudopotentials.items())
    )
    smearing = oracle.smearing
    occupations = f"{smearing.kind} {smearing.width_ry:g} Ry" if smearing else "fixed occupations"
    cutoffs = f"{oracle.ecutwfc_ry:g}/{oracle.ecutrho_ry:g} Ry"
    family = " by family" if oracle.k_mesh == "family" else ""
    return (
        f"{files}, {cutoffs}, k {oracle.k_spacing_inverse_angstrom:g} per Å{family}, {occupations}"
    )
