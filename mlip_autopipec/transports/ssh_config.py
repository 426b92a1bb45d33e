"""~/.ssh/config as OpenSSH reads it: `ssh -G` is asked, and its answer becomes options of asyncssh.

asyncssh has a reader of its own that differs in many small ways (comments behind values,
RequestTTY, files that do not exist, Match, tokens). What it cannot do at all is kept in `notes`,
each with its line and file: they stand in the message of a login that fails, with the way that can
(`kind: openssh`).
"""

import glob
import os
import pwd
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.mac import get_mac_algs
from asyncssh.public_key import get_public_key_algs

from mlip_autopipec.errors import LoginRefused, OperatorError, TransientError

#: `Match exec` may run a program of the user's.
_TIMEOUT_S = 30.0
_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
#: Keyword of -G → option of asyncssh, and the names that it knows.
_ALGORITHMS = {
    "kexalgorithms": ("kex_algs", get_kex_algs),
    "ciphers": ("encryption_algs", get_encryption_algs),
    "macs": ("mac_algs", get_mac_algs),
    "hostkeyalgorithms": ("server_host_key_algs", get_public_key_algs),
}
#: What is beyond asyncssh, or beyond what this program dares, by keyword and value.
_BEYOND = {
    ("gssapiauthentication", "yes"): "logs in by Kerberos",
    ("hostbasedauthentication", "yes"): "logs in by the host's own key",
    ("proxyusefdpass", "yes"): "is passed an open connection by its ProxyCommand",
    ("stricthostkeychecking", "false"): "takes any host key; here it must be in known_hosts",
    ("stricthostkeychecking", "no"): "takes any host key; here it must be in known_hosts",
    ("stricthostkeychecking", "off"): "takes any host key; here it must be in known_hosts",
    ("stricthostkeychecking", "accept-new"): "takes a new host key; here it must be in known_hosts",
    (
        "nohostauthenticationforlocalhost",
        "yes",
    ): "checks no host key of this machine; here it must be in known_hosts",
    ("verifyhostkeydns", "true"): "takes host keys from DNS; here they must be in known_hosts",
    ("verifyhostkeydns", "yes"): "takes host keys from DNS; here they must be in known_hosts",
}
_BEYOND_IF_SET = {
    "pkcs11provider": "logs in by a smart card",
    "knownhostscommand": "takes host keys from a program; here they must be in known_hosts",
}
_TOKEN = re.compile(r"%(.)")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_INCLUDES_MAX = 200


@dataclass(frozen=True, slots=True)
class Resolved:
    """Options for asyncssh.connect, and what of the configuration they leave out."""

    options: Mapping[str, Any]
    notes: tuple[str, ...]


def has_client() -> bool:
    """Whether this machine has an OpenSSH client to ask."""
    return shutil.which("ssh") is not None


def resolve(
    host: str,
    *,
    config: Path | None = None,
    port: int | None = None,
    user: str | None = None,
    known_hosts: Path | None = None,
    client_keys: Sequence[Path] = (),
) -> Resolved:
    """What OpenSSH would do for `host`. Blocks for as long as `Match exec` takes, 30 s at most.

    Raises LoginRefused with ssh's own words for a file that ssh refuses, and for what asyncssh
    cannot do at all; OperatorError where the check of host keys is switched off.
    """
    arguments = ["-F", str(config)] if config else []
    options = [*arguments, *(["-p", str(port)] if port else []), *(["-l", user] if user else [])]
    said = _ask([*options, "--", host], host)
    plain = _ask(["-F", "/dev/null", "--", host], host)
    files = tuple(_files(config))
    get = {key: values[0] for key, values in said.items()}
    notes = [*_beyond(said, plain, files)]
    tokens = _tokens(host, get)
    found: dict[str, Any] = {
        "config": None,
        "host": get["hostname"],
        "port": int(get["port"]),
        "username": get["user"],
        "request_pty": False,
        "family": _FAMILIES.get(get.get("addressfamily", "any"), socket.AF_UNSPEC),
    }
    if "bindaddress" in get:
        found["local_addr"] = (get["bindaddress"], 0)
    if get.get("compression") == "yes":
        found["compression_algs"] = ["zlib@openssh.com", "zlib", "none"]
    if (timeout := get.get("connecttimeout", "none")).isdigit():
        found["connect_timeout"] = int(timeout)
    if "setenv" in said:
        found["env"] = dict(pair.split("=", 1) for pair in said["setenv"] if "=" in pair)
    if "sendenv" in said:
        found["send_env"] = [
            name for name in said["sendenv"] if "*" not in name and "?" not in name
        ]
    found |= _algorithms(host, said, plain, files)
    found |= _proxy(host, get, arguments, tokens)
    found["known_hosts"] = _known_hosts(host, said, known_hosts, files)
    if "hostkeyalias" in get:
        found["host_key_alias"] = get["hostkeyalias"]
    found |= _identities(said, tokens, client_keys, notes)
    return Resolved(found, tuple(notes))


def _ask(arguments: Sequence[str], host: str) -> dict[str, list[str]]:
    """Keyword → its values, as `ssh -G` says them."""
    try:
        done = subprocess.run(
            ["ssh", "-G", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TransientError(
            f"{host}: ssh -G did not end within {_TIMEOUT_S:g} s; a `Match exec` may hang"
        ) from error
    if done.returncode != 0:
        complaint = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise LoginRefused(f"{host}: ssh refuses its configuration: {complaint}")
    found: dict[str, list[str]] = {}
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key.lower(), []).append(value)
    return found


# --- host keys ------------------------------------------------------------------------------------


def _known_hosts(
    host: str, said: Mapping[str, Sequence[str]], given: Path | None, files: Sequence[Path]
) -> asyncssh.SSHKnownHosts:
    """The lines of every known_hosts file that can be read as such.

    As ssh does, others are passed over.
    """
    if given is not None:
        try:
            return _readable_lines(given.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            raise LoginRefused(f"{host}: {given} cannot be read: {error.strerror}") from error
    users = shlex.split(" ".join(said.get("userknownhostsfile", ())))
    if users == ["none"]:
        raise OperatorError(
            f"{host}: UserKnownHostsFile none{_where('userknownhostsfile', files)} switches the"
            " check of host keys off"
        )
    lines: list[str] = []
    for name in (*users, *shlex.split(" ".join(said.get("globalknownhostsfile", ())))):
        path = Path(os.path.expanduser(name))  # noqa: PTH111 - as ssh: an unknown home is left as it is
        if path.is_file() and os.access(path, os.R_OK):
            lines.append(path.read_text(encoding="utf-8", errors="replace"))
    return _readable_lines("\n".join(lines))


def _readable_lines(text: str) -> asyncssh.SSHKnownHosts:
    """Lines with a kind of key that asyncssh does not know, and torn ones, are no entries."""
    good = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            asyncssh.import_known_hosts(line)
        except ValueError:  # ssh passes it over, too
            continue
        good.append(line)
    return asyncssh.import_known_hosts("\n".join((*good, "")))


# --- identities -----------------------------------------------------------------------------------


def _identities(
    said: Mapping[str, Sequence[str]],
    tokens: Mapping[str, str],
    given: Sequence[Path],
    notes: list[str],
) -> dict[str, Any]:
    """Keys, certificates and agent.

    Files that do not exist, or that need a passphrase, are passed over.
    """
    agent = _agent(said, tokens)
    if given:
        return {"client_keys": [str(path) for path in given], "agent_path": agent}
    certificates = [
        str(path) for path in _paths(said.get("certificatefile", ()), tokens) if path.is_file()
    ]
    keys: list[Any] = []
    public: list[Any] = []
    for path in _paths(said.get("identityfile", ()), tokens):
        public += _public_keys(path)
        if not path.is_file():
            continue
        try:
            keys += asyncssh.load_keypairs([str(path)], None, certificates)
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, OSError) as error:
            if "passphrase" in str(error).lower():
                notes.append(f"{path} needs a passphrase: put it into an agent")
            elif not public:
                notes.append(f"{path} is no private key that asyncssh can read: {error}")
    found: dict[str, Any] = {
        "client_keys": keys or [],
        "agent_path": agent,
        "ignore_encrypted": True,
    }
    if said.get("identitiesonly", ["no"])[0] == "yes":
        if public:
            found["agent_identities"] = public
        else:
            found["agent_path"] = None
    return found


def _agent(said: Mapping[str, Sequence[str]], tokens: Mapping[str, str]) -> str | None:
    """The agent's socket; None: none is to be asked."""
    asked = said.get("identityagent", ["SSH_AUTH_SOCK"])[0]
    if asked == "none":
        return None
    if asked == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK")
    return (
        os.environ.get(asked[1:]) if asked.startswith("$") else str(next(_paths([asked], tokens)))
    )


def _public_keys(path: Path) -> list[Any]:
    """By which an agent's key is chosen: of PATH.pub, or of PATH itself."""
    for candidate in (path.with_name(f"{path.name}.pub"), path):
        try:
            return [asyncssh.read_public_key(str(candidate))]
        except (OSError, ValueError):  # none, or no public key
            continue
    return []


def _paths(names: Sequence[str], tokens: Mapping[str, str]) -> Iterator[Path]:
    for name in names:
        if name != "none":
            yield Path(os.path.expanduser(_expanded(name, tokens)))  # noqa: PTH111 - as ssh


# --- the way there --------------------------------------------------------------------------------


def _proxy(
    host: str, get: Mapping[str, str], arguments: Sequence[str], tokens: Mapping[str, str]
) -> dict[str, Any]:
    """ProxyCommand by a shell, as ssh runs it; ProxyJump by `ssh -W`, which ssh makes of it."""
    command = get.get("proxycommand", "none")
    if get.get("proxyusefdpass") == "yes" and command != "none":
        raise LoginRefused(
            f"{host}: ProxyUseFdpass is beyond `kind: ssh`; `kind: openssh` can do it"
        )
    if command == "none" and get.get("proxyjump", "none") != "none":
        *earlier, last = get["proxyjump"].split(",")
        target = f"[{get['hostname']}]:{get['port']}"
        jumps = ["-J", ",".join(earlier)] if earlier else []
        command = shlex.join(
            [
                "ssh",
                *arguments,
                "-o",
                "BatchMode=yes",
                *jumps,
                *_hop(last),
                "-W",
                target,
                "--",
                _name(last),
            ]
        )
        tokens = {}
    if command == "none":
        return {}
    # asyncssh takes what the command says on standard error for the far side's words, and the end
    # of that stream for the end of the connection: it stays open, and nothing is said there.
    return {"proxy_command": ["/bin/sh", "-c", f"{_SILENCE}exec {_expanded(command, tokens)}"]}


_SILENCE = "exec 9>&2 2>/dev/null; "
_HOP = re.compile(r"(?:ssh://)?(?:(?P<user>.*)@)?(?P<host>\[[^]]*\]|[^:\[]+)(?::(?P<port>\d+))?")


def _hop(hop: str) -> list[str]:
    match = _HOP.fullmatch(hop)
    user, port = (match["user"], match["port"]) if match else (None, None)
    return [*(["-l", user] if user else []), *(["-p", port] if port else [])]


def _name(hop: str) -> str:
    match = _HOP.fullmatch(hop)
    return match["host"].strip("[]") if match else hop


def _algorithms(
    host: str,
    said: Mapping[str, Sequence[str]],
    plain: Mapping[str, Sequence[str]],
    files: Sequence[Path],
) -> dict[str, Any]:
    """Lists that the user has changed, without the names that asyncssh lacks."""
    found: dict[str, Any] = {}
    for keyword, (option, known) in _ALGORITHMS.items():
        if said.get(keyword) == plain.get(keyword) or keyword not in said:
            continue
        names = [name.decode() for name in known()]
        wanted = [name for name in said[keyword][0].split(",") if name in names]
        if not wanted:
            raise LoginRefused(
                f"{host}: {said[keyword][0]}{_where(keyword, files)}: asyncssh has none of these;"
                " `kind: openssh` has"
            )
        found[option] = wanted
    return found


# --- words ----------------------------------------------------------------------------------------


def _beyond(
    said: Mapping[str, Sequence[str]], plain: Mapping[str, Sequence[str]], files: Sequence[Path]
) -> Iterator[str]:
    """What ssh would do and asyncssh does not, with the line that asks for it."""
    for (keyword, value), message in _BEYOND.items():
        if said.get(keyword, [""])[0] == value and said.get(keyword) != plain.get(keyword):
            yield f"{keyword} {value}{_where(keyword, files)}: ssh {message}"
    for keyword, message in _BEYOND_IF_SET.items():
        if said.get(keyword, ["none"])[0] != "none":
            yield f"{keyword} {said[keyword][0]}{_where(keyword, files)}: ssh {message}"


def _where(keyword: str, files: Sequence[Path]) -> str:
    """The first line that has this keyword: ` (FILE line 12)`; empty if it is on none."""
    pattern = re.compile(rf"\s*{keyword}[\s=\"]", re.IGNORECASE)
    for path in files:
        for number, line in enumerate(
            path.read_text(encoding="utf-8", errors="replace").splitlines(), 1
        ):
            if pattern.match(line):
                return f" ({path} line {number})"
    return ""


def _files(config: Path | None) -> Iterator[Path]:
    """The configuration files that ssh reads, and those that they include."""
    home = Path.home() / ".ssh"
    waiting = (
        [(config, home)]
        if config
        else [(home / "config", home), (Path("/etc/ssh/ssh_config"), Path("/etc/ssh"))]
    )
    seen: set[Path] = set()
    while waiting and len(seen) < _INCLUDES_MAX:
        path, base = waiting.pop(0)
        if path in seen or not path.is_file() or not os.access(path, os.R_OK):
            continue
        seen.add(path)
        yield path
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if match := re.match(r"\s*include[\s=]+(.*)", line, re.IGNORECASE):
                for name in match[1].replace('"', " ").split():
                    pattern = base / os.path.expanduser(name)  # noqa: PTH111 - as ssh
                    waiting += [(Path(found), base) for found in sorted(glob.glob(str(pattern)))]  # noqa: PTH207


def _tokens(host: str, get: Mapping[str, str]) -> dict[str, str]:
    """What ssh puts in place of %h and its like (ssh_config(5), TOKENS).

    %C and %T are of sockets and tunnels.
    """
    name = socket.gethostname()
    local = pwd.getpwuid(os.getuid())
    return {
        "%": "%",
        "h": get["hostname"],
        "k": get.get("hostkeyalias", host),
        "n": host,
        "p": get["port"],
        "r": get["user"],
        "u": local.pw_name,
        "d": local.pw_dir,
        "i": str(os.getuid()),
        "L": name.partition(".")[0],
        "l": name,
        "j": get.get("proxyjump", ""),
    }


def _expanded(text: str, tokens: Mapping[str, str]) -> str:
    """Tokens and environment variables filled in; of what is not known, the text stays."""
    filled = _TOKEN.sub(lambda found: tokens.get(found[1], found[0]), text) if tokens else text
    return (
        _VARIABLE.sub(lambda found: os.environ.get(found[1], found[0]), filled)
        if tokens
        else filled
    )
