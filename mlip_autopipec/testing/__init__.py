"""Fakes that ship with the package.

They are real classes behind the ports, in virtual time, with every chance from a seed.
"""
