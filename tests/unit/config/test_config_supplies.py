"""Files that site.yaml names for tasks: found when it is read, shipped by content."""

from hashlib import sha256
from pathlib import Path

import pytest
from kit.site_files import SITE, spoiled

from mlip_autopipec.config.loader import load_config
from mlip_autopipec.config.supplies import supplies
from mlip_autopipec.errors import ConfigurationError

CRYSTAL = (
    "prototype: {structure: fcc, elements: [Au], lattice_constant_angstrom: 4.08, repeat: [3, 3,"
    " 3]}"
)


def test_a_structure_is_shipped_by_what_is_in_it(tmp_path: Path) -> None:
    """Relative to the site file; its name on the site has its content's checksum and the suffix."""
    content = b"a structure"
    (tmp_path / "mine.cif").write_bytes(content)
    (tmp_path / "site.yaml").write_text(spoiled((CRYSTAL, "file: mine.cif")))
    config = load_config(tmp_path / "site.yaml").config
    digest = sha256(content).hexdigest()
    ((path, supply),) = supplies(config).items()
    assert path == tmp_path / "mine.cif" == config.exploration.walkers[0].file
    assert (supply.content, supply.ref.sha256, supply.ref.path) == (
        content,
        digest,
        f"inputs/{digest[:12]}-mine.cif",
    )


def test_a_structure_that_is_missing_is_told_with_its_line(tmp_path: Path) -> None:
    """Before anything runs; and should it go missing later, the daemon says so."""
    (tmp_path / "site.yaml").write_text(spoiled((CRYSTAL, "file: mine.cif")))
    with pytest.raises(
        ConfigurationError,
        match=r"site.yaml:34  exploration.walkers\[0\].file  'mine.cif' → expected",
    ):
        load_config(tmp_path / "site.yaml")
    (tmp_path / "mine.cif").touch()
    config = load_config(tmp_path / "site.yaml").config
    (tmp_path / "mine.cif").unlink()
    with pytest.raises(ConfigurationError, match=r"mine.cif cannot be read: No such file"):
        supplies(config)


def test_a_site_file_without_files_ships_none(tmp_path: Path) -> None:
    """Prototypes need nothing."""
    (tmp_path / "site.yaml").write_text(SITE)
    assert supplies(load_config(tmp_path / "site.yaml").config) == {}
