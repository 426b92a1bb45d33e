"""export: a folder to attach to a paper, made of the journal and the site's files, and its check. Nothing changes."""
