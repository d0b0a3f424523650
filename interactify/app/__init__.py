"""A page in the browser where photos are segmented by clicks, served by this computer alone: `interactify app`.

server.py     which address answers what
security.py   who may ask, and how much
pictures.py   which files are opened, decided before any of them is decoded
project.py    the photos, what is done of them, and the folder where all is kept
desk.py       one photo that is worked on: its session, its thread, what the page has been shown
actions.py    what a page may ask of a session
frames.py     masks on their way to the page: what changed, as PNG
journal.py    each action on disk before its mask is on the screen
saving.py     masks, labels, COCO's JSON and sessions, written behind one's back
exporting.py  all of it as one file to take away
static/       the page: plain modules, nothing fetched from elsewhere
"""
