"""What the control half makes of the work half's examinations (`contract/doctor.py`).

Any program may have printed it: an answer is judged, and keys that nobody knows are passed over.
"""

import json
import subprocess
import sys
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mlip_autopipec.contract.doctor import A, Examination, Examined, Q
from mlip_autopipec.contract.values import plain
from mlip_autopipec.data_models.text import answer_in, first_lines


def question(asked: object) -> bytes:
    """As the work half reads it."""
    return json.dumps(plain(asked)).encode()


def answer(examination: Examination[Any, A], output: bytes) -> A | Examined | None:
    """What was printed in answer, or why there is no answer, as an Examined. None: neither."""
    content = answer_in(output)
    if content is None:
        return None
    kind: Any = Examined if content.get("fit") is False else examination.answer
    try:
        found: A | Examined = TypeAdapter(kind).validate_python(content, extra="ignore")
    except ValidationError:
        return None
    return found


def examined_here(examination: Examination[Q, A], asked: Q, timeout_s: float) -> A | str:
    """The answer of a process of its own on this machine; in words why there is none. Blocks.

    A file that hangs its reader costs seconds, and physics stays out of this process.
    """
    command = [sys.executable, "-m", "mlip_autopipec.work", "examine", examination.name]
    try:
        done = subprocess.run(
            command, input=question(asked), capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {timeout_s:g} s"
    found = answer(examination, done.stdout)
    if done.returncode != 0 or found is None:
        return first_lines(done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2])
    return found.message if isinstance(found, Examined) else found
