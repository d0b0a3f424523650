"""What `interactify COMMAND` does: a module for each, with `add_arguments(parser)` and `run(given)`.

None imports anything heavy before it is run; `run` returns the exit status.
"""
