"""Where a frame came from, as it carries it from file to file."""

import json
from urllib.parse import quote, unquote

from ase import Atoms

from mlip_autopipec.contract.origin import Origin, origin_from
from mlip_autopipec.contract.values import plain, read

#: Where a frame's origin stands in its `info`: JSON, percent-encoded, for ASE's extended XYZ loses
#: backslashes and stumbles over quotes within values.
_CAME_FROM = "came_from"


def origin_of(frame: Atoms) -> Origin:
    """Where the frame came from; of files of earlier versions by their sentence."""
    written = frame.info.get(_CAME_FROM)
    if written is None:
        return origin_from(frame.info.get("origin", ""))
    return read(Origin, json.loads(unquote(written)), _CAME_FROM)


def note_origin(frame: Atoms, origin: Origin) -> None:
    """Let the frame carry its origin from file to file, as a value and as a sentence for people."""
    frame.info["origin"] = origin.sentence
    frame.info[_CAME_FROM] = quote(json.dumps(plain(origin), ensure_ascii=False), safe=" ,:#.")
