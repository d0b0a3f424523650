"""Label Studio's machine learning backend: the class that label-studio-ml serves, for its smart tools.

It works with label-studio-ml 1.0.9, which PyPI has, and with 2 from its repository. `interactify label-studio` serves
it; another program calls `InteractifyBackend.serve(net)`, and passes the class to `label_studio_ml.api.init_app`.
"""

from __future__ import annotations

import base64
import binascii
import inspect
import logging
import os
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, unquote_to_bytes, urlparse

from flask import after_this_request, has_request_context, jsonify, make_response, request
from label_studio_ml.model import LabelStudioMLBase
from label_studio_tools.core.utils.io import get_local_path
from PIL import Image

from interactify._version import __version__
from interactify.errors import InteractifyError, OptionError, PhotoError, text_of
from interactify.interactive import Interactive
from interactify.predictor.prompts import Prompt
from interactify.tools.label_studio_regions import Controls, controls_of, read_regions, region_of
from interactify.tools.served import Served, image_of, status_of

Prediction = dict[str, Any]

URL, KEY = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"  # environment variables: Label Studio's address, and a key for it

logger = logging.getLogger(__name__)


class InteractifyBackend(LabelStudioMLBase):
    """Turns keypoints, rectangles and strokes of a brush into masks of the brush.

    label-studio-ml creates an instance for a project, or for each request; all share the network, which the class has.
    """

    served: ClassVar[Served | None] = None

    @classmethod
    def serve(cls, net: Interactive) -> None:
        """Set the network, before the first request."""
        cls.served = Served(net)

    def predict(
        self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Prediction]:
        """A prediction for each task; the regions of a context are prompts on the first one.

        Without a context they are the network's own. A context without regions, since the last region of a smart tool
        was deleted, gets an empty prediction. Errors of this library become the response's status and text; of many
        tasks, those that fail get empty predictions.
        """
        try:
            if self.served is None:
                raise OptionError("Expected a network before the first request. Try InteractifyBackend.serve(net).")
            controls = controls_of(self._config())
            regions = context.get("result") if context else None
            if regions is None:
                return self._own_predictions(self.served, tasks, controls)
            return [self._prompted(self.served, tasks[0], controls, regions) if regions else _prediction([])]
        except InteractifyError as error:
            if not has_request_context():
                raise
            _respond_with(error)
            return []

    def fit(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Train nothing: annotations that Label Studio reports change nothing here."""
        return {}

    def _prompted(self, served: Served, task: dict[str, Any], controls: Controls, regions: Any) -> Prediction:
        image, name = self._photo(task, controls)
        if not isinstance(regions, list):
            raise OptionError(f'Expected "result" of the context as a list of regions, got {text_of(regions)}.')
        predicted = []
        for labelled in read_regions(regions, (image.height, image.width)):
            label = controls.label(labelled.label)
            scored = served.segment(image, name, labelled.prompt, _class(served.net, label))
            predicted.append(region_of(scored, controls, label))
        return _prediction(predicted)

    def _own_predictions(self, served: Served, tasks: list[dict[str, Any]], controls: Controls) -> list[Prediction]:
        """One failed task does not fail the others; where all tasks fail, it is an error."""
        predictions, errors = [], []
        for task in tasks:
            try:
                predictions.append(self._own_prediction(served, task, controls))
            except InteractifyError as error:
                errors.append(error)
                logger.warning("interactify: task %s: %s", task.get("id"), " ".join(str(error).split()))
                predictions.append(_prediction([]))
        if errors and len(errors) == len(tasks):
            raise errors[0]
        return predictions

    def _own_prediction(self, served: Served, task: dict[str, Any], controls: Controls) -> Prediction:
        """The network's own prediction for the labels that are its classes, or for the only label."""
        classes = {label: _class(served.net, label) for label in controls.labels}
        only_label = len(classes) == 1
        targets = {label: target for label, target in classes.items() if only_label or target is not None}
        if not targets:
            return _prediction([])
        image, name = self._photo(task, controls)
        masks = {label: served.segment(image, name, Prompt(), target) for label, target in targets.items()}
        return _prediction([region_of(each, controls, label) for label, each in masks.items() if each.mask.any()])

    def _config(self) -> str | None:
        """The request's labelling configuration, since 1.0.9 keeps the last project's for all."""
        body = request.get_json(silent=True) if has_request_context() else None
        config = body.get("label_config") if isinstance(body, dict) else None
        return config or getattr(self, "label_config", None)

    def _photo(self, task: dict[str, Any], controls: Controls) -> tuple[Image.Image, str]:
        data = task.get("data")
        address = data.get(controls.key) if isinstance(data, dict) else None
        if not isinstance(address, str) or not address:
            raise PhotoError(
                f"Expected the photo's address under {controls.key!r} of the task, got {text_of(address)}."
            )
        if address.startswith("data:"):
            return image_of(_inline(address))
        path = Path(unquote(urlparse(address).path) if address.startswith("file://") else address)
        if not path.is_absolute() or not path.is_file():
            path = Path(self._downloaded(address, task.get("id")))
        try:
            return image_of(path.read_bytes())
        except OSError as cause:
            raise PhotoError(f"The photo at {address!r} can't be read ({cause.strerror or cause}).") from cause

    def _downloaded(self, address: str, task: Any) -> str:
        """The path of label-studio-ml's copy of an upload, of a storage's file, or of what an address leads to."""
        try:
            return self._local_path(address, task)
        except Exception as cause:  # downloads fail in many ways
            missing = [name for name in (URL, KEY) if not os.environ.get(name)]
            advice = (
                f"Set {' and '.join(missing)}" if missing else f"Try whether {URL} can be reached with {KEY} from here"
            )
            raise PhotoError(
                f"The photo at {address!r} can't be downloaded ({cause or type(cause).__name__}). {advice}, for "
                "uploads and storages."
            ) from cause

    def _local_path(self, address: str, task: Any) -> str:
        """Use label-studio-ml's own look-up; Label Studio gives photos in the cloud by their task."""
        if "task_id" in inspect.signature(self.get_local_path).parameters:
            return self.get_local_path(address, task_id=task)
        if type(self).get_local_path is not LabelStudioMLBase.get_local_path:
            return self.get_local_path(address)
        # 1.0.9's own method does not pass the task on, and prefers Label Studio's host name to the variables set here.
        url, key = os.environ.get(URL) or self.hostname, os.environ.get(KEY) or self.access_token
        return get_local_path(address, hostname=url, access_token=key, task_id=task)


def _respond_with(error: InteractifyError) -> None:
    """Make an error the current request's response, in the form of label-studio-ml's own errors.

    If it were raised, the response would be a 500 with a traceback.
    """
    status = status_of(error)
    body = {"status": status, "detail": " ".join(str(error).split())}
    after_this_request(lambda _: make_response(jsonify(body), status))


def _class(net: Interactive, label: str) -> int | None:
    """The network's class of that name in any case; None where it has none, or knows no names."""
    names = [name.lower() for name in net.spec.class_names]
    return names.index(label.lower()) if label.lower() in names else None


def _prediction(regions: list[dict[str, Any]]) -> Prediction:
    scores = [region["score"] for region in regions]
    return {
        "result": regions,
        "score": sum(scores) / len(scores) if scores else 0.0,
        "model_version": f"interactify {__version__}",
    }


def _inline(uri: str) -> bytes:
    """The bytes of a data URI."""
    head, _, text = uri.partition(",")
    try:
        return base64.b64decode(unquote(text), validate=True) if head.endswith(";base64") else unquote_to_bytes(text)
    except (binascii.Error, ValueError) as cause:
        raise PhotoError(f"Expected a data URI with a picture file in base64: {cause}.") from cause
