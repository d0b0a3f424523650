"""What the page keeps on disk.

project.py         the photos and their status, and the folder for results
stored.py          a photo's session as it was left, restored:
stored_session.py  the session of a network here,
stored_volume.py   of a network here, on a volume,
stored_at_service.py  and that of a network at a service
journal.py         each action on disk before its mask is on the screen
saver.py           one thread that writes masks and sessions in the background
result_files.py    a photo's masks, its map of labels, and COCO JSON of all photos
archive.py         results as one zip to download
folder_lock.py     one server per folder
"""
