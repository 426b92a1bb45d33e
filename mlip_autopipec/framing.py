"""Frames around the answers of a site's commands, which no output of a job or of a login can forge.

Each section is one header line and so many bytes as the header says:

    AP NONCE SECTION STATUS BYTES

The nonce is new for each call. It travels with the script on standard input, never on a command
line, where others on the site could read it. What a section holds is skipped by its length and is
never searched for headers. So text of a job (the tail of its output) can't begin a section, nor
replace one: the first of a name counts. What stands between sections, such as greetings of the
login, is passed over, and a section that was cut is none.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

#: Makes the nonce of one call: hard to guess, of letters and digits.
Nonce = Callable[[], str]

#: The interpreter that reads a script from `scripted`. In the C locale each shell counts bytes.
SHELL = ("env", "LC_ALL=C", "sh", "-s", "--")

#: `tell SECTION COMMAND…`: run a command, and frame what it prints with its exit status. The `x`
#: keeps the newlines at the end, which a shell drops.
TELL = r"""
tell() {
  section=$1
  shift
  said=$("$@"; status=$?; printf x; exit $status)
  status=$?
  said=${said%x}
  printf '\nAP %s %s %s %s\n%s\n' "$nonce" "$section" "$status" "${#said}" "$said"
}
"""


@dataclass(frozen=True, slots=True)
class CommandOutput:
    """What one command printed, and its exit status."""

    text: str
    status: int


def scripted(nonce: str, script: str) -> bytes:
    """A script for the standard input of `SHELL`, with the nonce that its frames carry."""
    return f"nonce={nonce}\n{script}".encode()


def framed(nonce: str, section: str, text: str, status: int = 0) -> str:
    """One section, as `tell` prints it."""
    return f"\nAP {nonce} {section} {status} {len(text.encode())}\n{text}\n"


def sections(nonce: str, stdout: bytes) -> dict[str, CommandOutput]:
    """The whole sections of an answer, by name; of two with one name, the first.

    Bytes that are no UTF-8 come out as U+FFFD.
    """
    header = re.compile(
        rb"^AP %b (\w{1,40}) (\d{1,3}) (\d{1,12})\n" % re.escape(nonce.encode()), re.MULTILINE
    )
    found: dict[str, CommandOutput] = {}
    begin = 0
    while match := header.search(stdout, begin):
        end = match.end() + int(match[3])
        if stdout[end : end + 1] != b"\n":
            break  # cut
        found.setdefault(
            match[1].decode(),
            CommandOutput(stdout[match.end() : end].decode("utf-8", "replace"), int(match[2])),
        )
        begin = end
    return found
