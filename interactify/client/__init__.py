"""A client of `interactify serve`, with the methods of a session, and without torch: it needs httpx and NumPy alone.

service = interactify.client.connect("http://server:8348", key="…")
session = service.session("photo.jpg")
result = session.click(x=120, y=80)

connection.py  requests that are tried again, at the next replica where one is away
photos.py      what is sent of a photo: a file's bytes, or an array as a PNG
result.py      what comes back
service.py     the service
session.py     the session
"""

from interactify.client.connection import Connection
from interactify.client.result import Prompted, Result
from interactify.client.service import Service, connect
from interactify.client.session import Session

__all__ = ["Connection", "Prompted", "Result", "Service", "Session", "connect"]
