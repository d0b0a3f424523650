"""What the servers share: the page of `interactify app` and the service of `interactify serve`.

running.py       the server around an application
guard.py         checks of each request, before its body is read
limits.py        how much a client may ask for
tokens.py        secrets, compared in constant time
pictures.py      which picture files are opened, decided before any of them is decoded
actions.py       the actions that a client may send, read from JSON and checked
log.py           the log of a session's actions, wherever it is: written, read back, and run again
about.py         what clients are told of a network
about_network.py  the same, from the network
states.py        a session's state as JSON
strokes.py       strokes in it, with fewer points
failures.py      errors as responses, in words for whoever sent the request
"""
