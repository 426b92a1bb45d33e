"""The daemon of a campaign."""

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Run `autopipecd`. Scripts that an earlier version installed call it by this name, too."""
    from mlip_autopipec.daemon import service  # noqa: PLC0415 - who restores a campaign needs none of it

    service.main(argv)
