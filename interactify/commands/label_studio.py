"""`interactify label-studio`: serves the backend until Ctrl-C."""

from __future__ import annotations

import argparse
import inspect
import os
import tempfile
from typing import Any

from interactify.commands.network_options import add_device_option, add_network_options, network
from interactify.commands.server_options import add_server_options, service
from interactify.errors import OptionError, extra


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="who may ask: %(default)s is this "
                         "computer alone, 0.0.0.0 everyone who reaches it")  # fmt: skip
    parser.add_argument("--port", type=int, metavar="N", default=9090, help="where it listens (%(default)s)")
    add_device_option(parser)
    add_network_options(parser)
    add_server_options(parser)


def run(given: argparse.Namespace) -> int:
    """Build the network, listen, and answer; returns the exit status once it is interrupted."""
    if not 0 < given.port < 65536:
        raise OptionError(f"Expected --port from 1 to 65535, got {given.port}.")
    there = service(given)
    with tempfile.TemporaryDirectory(prefix="interactify-label-studio-") as folder:
        os.environ.setdefault("MODEL_DIR", folder)  # where label-studio-ml 2 keeps what it knows of projects
        try:
            from interactify.tools.label_studio import InteractifyBackend
        except ImportError as cause:
            raise OptionError(
                f"Label Studio's backend needs label-studio-ml, which can't be imported ({cause}). "
                f"Try {extra('label-studio')}, in a virtual environment of its own."
            ) from cause
        from werkzeug.serving import run_simple

        from interactify.tools.prompted import AtService

        InteractifyBackend.serve(network(given) if there is None else AtService(there, given.server_network))
        app = application(InteractifyBackend, folder)
        print("\n".join(first_lines(given.host, given.port)), flush=True)
        try:
            run_simple(given.host, given.port, app, threaded=True)
        except OSError as cause:
            raise OptionError(
                f"Can't listen at {given.host}:{given.port} ({cause.strerror or cause}). Try another --port."
            ) from cause
    return 0


def first_lines(host: str, port: int) -> list[str]:
    """What to know before Label Studio is connected: the address, and the settings without which it fails."""
    lines = [
        f"Label Studio's backend listens at http://{host}:{port}; Ctrl-C ends it.",
        "Label Studio connects to an address of this computer or of a private network only where it was started with "
        "ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false.",
    ]
    if missing := [name for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY") if not os.environ.get(name)]:
        lines.append(
            f"Photos that were uploaded to Label Studio need {' and '.join(missing)} in this command's environment: "
            "its address, and a personal access token (Account & Settings)."
        )
    return lines


def application(backend: Any, folder: str) -> Any:
    """The WSGI application of label-studio-ml, whichever version is installed; `folder` is for what it keeps.

    `backend` is the class `InteractifyBackend`.
    """
    from flask import jsonify, make_response
    from label_studio_ml import api

    takes_any = any(each.kind is each.VAR_KEYWORD for each in inspect.signature(api.init_app).parameters.values())
    app = api.init_app(backend, **({"model_dir": folder} if takes_any else {}))
    connect = app.view_functions["_setup"]

    def connect_with_version() -> Any:
        """Its own version is that of a training; while predictions have another, Label Studio asks for them again."""
        response = make_response(connect())
        found = response.get_json(silent=True)
        return jsonify({**found, "model_version": backend.version}) if response.status_code == 200 else response

    app.view_functions["_setup"] = connect_with_version
    manager = getattr(api, "_manager", None)
    if manager is not None:  # 1.0.9
        manager.fetch()  # it answers nothing before /setup, which is not called again after a restart
        # Its own handlers of saved annotations start a process, store the event, and change the model's version, after
        # which Label Studio takes every prediction for an outdated one.
        app.view_functions.update(
            {name: _train_nothing for name in ("webhook", "_train") if name in app.view_functions}
        )
    return app


def _train_nothing() -> tuple[dict[str, Any], int]:
    """The response to an annotation that Label Studio reports."""
    return {}, 201
