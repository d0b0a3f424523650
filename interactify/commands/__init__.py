"""What `interactify COMMAND` does: a module for each, with `add_arguments(parser)` and `run(given)`.

`run` returns the exit status. It imports torch and whatever needs it itself, not at the top of the module: the parser
loads the modules of all commands, and `interactify --help` has to answer at once.
"""
