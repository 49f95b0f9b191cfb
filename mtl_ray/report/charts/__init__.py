"""Charts of the report, one kind a file; each function returns inline markup that needs no other file."""
