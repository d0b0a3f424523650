"""Where sessions outlive processes: a store holds each session's photo, and every action before it is answered.

records.py  what a store has to do, and what it holds of a session
sqlite.py   a file, by the standard library; several replicas of one machine may share it
redis.py    a Redis server, for replicas on several machines
opening.py  the store that a text names
log.py      the log of one session in a store, by the interface that the page's journal has too (web/log.py)
"""
