"""Fakes that ship with the package: real classes behind the ports, in virtual time, every chance from a seed."""
