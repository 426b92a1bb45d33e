"""export: a folder to attach to a paper, and its check.

It is made of the journal and the site's files. Nothing changes.
"""
