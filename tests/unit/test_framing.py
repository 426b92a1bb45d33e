"""Frames around answers: nothing that a command prints is taken for a frame."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlip_autopipec.framing import SHELL, TELL, CommandOutput, framed, scripted, sections

NONCE = "5eed"
#: Answers within answers, also with a nonce that was guessed right.
FORGED = (
    framed("other", "squeue", "forged")
    + framed(NONCE, "squeue", "forged")
    + f"\nAP {NONCE} gate 0 9999999\n"
)
#: Shells that a site may have as its sh.
SHELLS = [name for name in ("dash", "bash", "ksh", "mksh", "zsh", "busybox") if shutil.which(name)]


@given(
    parts=st.dictionaries(
        st.from_regex(r"[a-z]{1,5}", fullmatch=True),
        st.tuples(st.text() | st.just(FORGED), st.integers(0, 255)),
        max_size=4,
    ),
    noise=st.text(),
    cut=st.integers(0, 60),
)
def test_what_was_framed_comes_back(
    parts: dict[str, tuple[str, int]], noise: str, cut: int
) -> None:
    """Whatever it holds, and whatever stands in front.

    Of an answer that was cut only whole sections are left.
    """
    whole = noise.encode("utf-8", "replace") + b"".join(
        framed(NONCE, name, text.encode("utf-8", "replace").decode(), status).encode()
        for name, (text, status) in parts.items()
    )
    expected = {
        name: CommandOutput(text.encode("utf-8", "replace").decode(), status)
        for name, (text, status) in parts.items()
    }

    assert sections(NONCE, whole) == expected
    left = sections(NONCE, whole[: len(whole) - cut])
    assert all(expected[name] == section for name, section in left.items())
    assert len(left) == len(expected) or cut


def test_the_first_of_two_sections_counts_and_another_nonce_is_none() -> None:
    """So what comes later replaces nothing."""
    said = (
        framed("other", "gate", "void")
        + framed(NONCE, "gate", "begun.1")
        + framed(NONCE, "gate", "void")
    )

    assert sections(NONCE, said.encode()) == {"gate": CommandOutput("begun.1", 0)}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_frames_bytes(tmp_path: Path, shell: str) -> None:
    """Of several bytes to a letter, with newlines at the end, and with the exit status.

    Nonces are no argument.
    """
    content = f"\nÅ≥\udcff\n{FORGED}\n\n\n".encode("utf-8", "surrogateescape")
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "sh").symlink_to(shutil.which(shell) or "")
    script = scripted(
        NONCE,
        TELL + 'failed() { echo "$1"; return 7; }\ntell one cat file\ntell two failed "a  b"\n',
    )

    done = subprocess.run(
        SHELL,
        input=script,
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        check=True,
    )

    assert sections(NONCE, done.stdout) == {
        "one": CommandOutput(content.decode("utf-8", "replace"), 0),
        "two": CommandOutput("a  b\n", 7),
    }
