"""Mending by hand: a damaged journal is copied aside whole, and cut where the damage begins."""

import shutil
from datetime import datetime
from pathlib import Path

from mlip_autopipec.errors import JournalDamaged
from mlip_autopipec.journal.durable import sync_folder
from mlip_autopipec.journal.replay import read
from mlip_autopipec.journal.segments import number_of, segment_path


def find_damage(folder: Path) -> JournalDamaged | None:
    """Where the journal cannot be trusted any more; None if it can. Raises StateUnreadable for a later version's."""
    try:
        for _ in read(folder):
            pass
    except JournalDamaged as damage:
        return damage
    return None


def cut_off(folder: Path, damage: JournalDamaged, now: datetime) -> Path:
    """Copy the journal aside, then cut it where the damage begins; the folder with the copy. Raises OSError.

    Killed in the middle, it may be called again: what was copied once is never written to.
    """
    kept = folder.with_name(f"{folder.name}.damaged-{now:%Y%m%dT%H%M%S}")
    shutil.copytree(folder, kept)
    number = number_of(damage.path)
    for path in sorted(folder.glob("journal-*.jsonl"), reverse=True):
        if number_of(path) > number or (path == damage.path and damage.offset == 0):
            path.unlink()
    if damage.offset:
        with segment_path(folder, number).open("r+b") as file:
            file.truncate(damage.offset)
    sync_folder(folder)
    sync_folder(folder.parent)
    return kept
