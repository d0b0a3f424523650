"""The functions that nuclio calls. network.json names the network; interactify.tools.cvat does the work."""

from pathlib import Path

from interactify.tools.cvat import Function

function = Function(Path(__file__).with_name("network.json"))
init_context = function.init_context
handler = function.handler
