"""Codes for mlip-autopipec from a package of its own."""
