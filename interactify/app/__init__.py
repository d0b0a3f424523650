"""The annotation page: photos are segmented by clicks in a browser, served by this computer alone: `interactify app`.

server.py        the HTTP routes
security.py      which requests are allowed
pictures.py      which files of a folder are photos, and what a browser is sent of one
open_photo.py    an open photo: its session, the thread that changes it, its queue of actions
open_photos.py   all open photos; the least recently used are closed
place.py         where the networks of a project run
networks.py      in this process: the first one for each photo, or one that was taught since
at_service.py    at a service; then nothing here loads torch
sessions.py      a photo's session, here or at a service, where the two differ
sessions_here.py, sessions_at_service.py  the two
lessons.py       learning from the photos that are done, in a process of its own
order.py         which photo is offered next
page_updates.py  what a page is sent after an action
viewport.py      the part of a photo that the screen shows
volume_routes.py   the HTTP routes of a project of volumes, where they differ
volume_network.py  its network, and the volumes that are shown
volume_updates.py  what a page is sent of a volume after an action
volumes/         a volume in slices, and its session
frames.py        the binary format of masks on their way to the page: PNGs of what changed
store/           what is kept on disk: project, journal, sessions, masks, archive
static/          the page: plain JavaScript modules, nothing fetched from elsewhere

What it shares with the service of `interactify serve` is in interactify/web/.
"""
