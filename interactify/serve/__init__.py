"""The service of `interactify serve`: sessions over HTTP, for many, on one or several replicas over one store.

server.py        the HTTP routes
operations.py    what each route takes and gives, from which both the routes and /openapi.json are made
guard.py         which requests reach the routes: their key, origin, host and length
keys.py          API keys
limits.py        how many sessions, how long they wait, how large photos are
service.py       sessions without HTTP: opened, found or replayed, changed, given back
prompts.py       a prompt of one object, answered without a change of its session
live.py          a session in memory, which stays equal to its log
memory.py        the sessions in memory; the one that was asked for longest ago leaves first
device_queue.py  the refinements of one device, in turn
answers.py       states and masks as JSON: the part that changed, as PNG or run lengths
metrics.py       what is counted and measured, for Prometheus
running.py       the networks and the store of a command line, and the server that runs until it is told to end
store/           where sessions outlive processes: SQLite or Redis

What it shares with the page of `interactify app` is in interactify/web/.
"""
