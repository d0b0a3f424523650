"""What the servers share: the page of `interactify app` and the service of `interactify serve`.

limits.py        how long a request may be; whose pages may send one
pictures.py      which picture files are opened, decided before any of them is decoded
actions.py       the actions that a client may send, read from JSON and checked
log.py           the log of a session's actions, and their replay
about.py         what clients are told of a network
states.py        a session's state as JSON
failures.py      errors as responses, in words for whoever sent the request
"""
