"""Label Studio's machine learning backend: the class that label-studio-ml serves, for its smart tools.

Works with label-studio-ml 1.0.9, which is what PyPI has, and with 2 from its repository. `interactify label-studio`
serves it; from one's own program it is `InteractifyBackend.serve(net)`, and the class goes to
`label_studio_ml.api.init_app`.
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
from PIL import Image

import interactify
from interactify.errors import InteractifyError, OptionError, PhotoError, text_of
from interactify.interactive import Interactive
from interactify.predictor.prompts import Prompt
from interactify.tools.cvat import status_of
from interactify.tools.label_studio_regions import Controls, controls_of, read_regions, region_of
from interactify.tools.served import Served, image_of

Prediction = dict[str, Any]

URL, KEY = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"  # of the environment: where Label Studio is, and who asks it

logger = logging.getLogger(__name__)


class InteractifyBackend(LabelStudioMLBase):
    """Answers keypoints, rectangles and strokes of a brush with masks of the brush.

    label-studio-ml makes an instance for a project, or for each request; the network is the class's, for all of them.
    """

    served: ClassVar[Served | None] = None

    @classmethod
    def serve(cls, net: Interactive) -> None:
        """Say which network answers, before the first request."""
        cls.served = Served(net)

    def predict(
        self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Prediction]:
        """A prediction for each task: what the context says is asked of the first; without one, the network alone.

        A context that says nothing, since the last region of a smart tool was deleted, is answered with nothing. Errors
        of this library become the answer's status and text; of many tasks those that can't be answered are left empty.
        """
        try:
            if self.served is None:
                raise OptionError("No network was named: call InteractifyBackend.serve(net) before requests come.")
            controls = controls_of(self._config())
            said = context.get("result") if context else None
            if said is None:
                return self._each_alone(self.served, tasks, controls)
            return [self._answered(self.served, tasks[0], controls, said) if said else _prediction([])]
        except InteractifyError as error:
            if not has_request_context():
                raise
            _answer_with(error)
            return []

    def fit(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Nothing is trained: annotations that Label Studio tells of change nothing here."""
        return {}

    def _answered(self, served: Served, task: dict[str, Any], controls: Controls, regions: Any) -> Prediction:
        image, name = self._photo(task, controls)
        if not isinstance(regions, list):
            raise OptionError(f'Expected "result" of the context as a list of regions, got {text_of(regions)}.')
        found = []
        for said in read_regions(regions, (image.height, image.width)):
            label = controls.label(said.label)
            found.append(region_of(served.answer(image, name, said.prompt, _class(served.net, label)), controls, label))
        return _prediction(found)

    def _each_alone(self, served: Served, tasks: list[dict[str, Any]], controls: Controls) -> list[Prediction]:
        """Of many tasks one that fails does not fail the others; where all do, it is an error."""
        found, failed = [], []
        for task in tasks:
            try:
                found.append(self._alone(served, task, controls))
            except InteractifyError as error:
                failed.append(error)
                logger.warning("interactify: task %s: %s", task.get("id"), " ".join(str(error).split()))
                found.append(_prediction([]))
        if failed and len(failed) == len(tasks):
            raise failed[0]
        return found

    def _alone(self, served: Served, task: dict[str, Any], controls: Controls) -> Prediction:
        """The network's own prediction, for the labels that are its classes; for the only one where there is one."""
        classes = {label: _class(served.net, label) for label in controls.labels}
        alone = len(classes) == 1
        asked = {label: target for label, target in classes.items() if alone or target is not None}
        if not asked:
            return _prediction([])
        image, name = self._photo(task, controls)
        masks = {label: served.answer(image, name, Prompt(), target) for label, target in asked.items()}
        return _prediction([region_of(each, controls, label) for label, each in masks.items() if each.mask.any()])

    def _config(self) -> str | None:
        """The labelling configuration that the request brings, since 1.0.9 keeps the last project's for all."""
        body = request.get_json(silent=True) if has_request_context() else None
        said = body.get("label_config") if isinstance(body, dict) else None
        return said or getattr(self, "label_config", None)

    def _photo(self, task: dict[str, Any], controls: Controls) -> tuple[Image.Image, str]:
        data = task.get("data")
        place = data.get(controls.key) if isinstance(data, dict) else None
        if not isinstance(place, str) or not place:
            raise PhotoError(f"Expected the photo's address under {controls.key!r} of the task, got {text_of(place)}.")
        if place.startswith("data:"):
            return image_of(_inline(place))
        path = Path(unquote(urlparse(place).path) if place.startswith("file://") else place)
        if not path.is_absolute() or not path.is_file():
            path = Path(self._fetched(place, task.get("id")))
        try:
            return image_of(path.read_bytes())
        except OSError as cause:
            raise PhotoError(f"The photo at {place!r} can't be read ({cause.strerror or cause}).") from cause

    def _fetched(self, place: str, task: Any) -> str:
        """Where label-studio-ml has put an upload, a file of a storage, or what lies at an address."""
        try:
            return self._local_path(place, task)
        except Exception as cause:  # downloads fail in many ways
            missing = [name for name in (URL, KEY) if not os.environ.get(name)]
            advice = (
                f"Set {' and '.join(missing)}" if missing else f"See whether {URL} can be reached with {KEY} from here"
            )
            raise PhotoError(
                f"The photo at {place!r} can't be fetched ({cause or type(cause).__name__}). {advice}, for uploads and "
                "storages."
            ) from cause

    def _local_path(self, place: str, task: Any) -> str:
        """As label-studio-ml looks it up; photos in the cloud are asked of Label Studio by their task."""
        if "task_id" in inspect.signature(self.get_local_path).parameters:
            return self.get_local_path(place, task_id=task)
        if type(self).get_local_path is not LabelStudioMLBase.get_local_path:
            return self.get_local_path(place)
        # That of 1.0.9 does not pass the task on, and prefers what Label Studio calls itself to what is set here.
        from label_studio_tools.core.utils.io import get_local_path

        url, key = os.environ.get(URL) or self.hostname, os.environ.get(KEY) or self.access_token
        return get_local_path(place, hostname=url, access_token=key, task_id=task)


def _answer_with(error: InteractifyError) -> None:
    """Make an error the answer of the request that is served, in the form of label-studio-ml's own errors.

    Raised, it would come back as a 500 with a traceback.
    """
    status = status_of(error)
    said = {"status": status, "detail": " ".join(str(error).split())}
    after_this_request(lambda _: make_response(jsonify(said), status))


def _class(net: Interactive, label: str) -> int | None:
    """The network's class of a label's name, large letters or small, where it knows names."""
    names = [name.lower() for name in net.spec.class_names]
    return names.index(label.lower()) if label.lower() in names else None


def _prediction(regions: list[dict[str, Any]]) -> Prediction:
    scores = [region["score"] for region in regions]
    return {
        "result": regions,
        "score": sum(scores) / len(scores) if scores else 0.0,
        "model_version": f"interactify {interactify.__version__}",
    }


def _inline(place: str) -> bytes:
    """The bytes of a data URI."""
    head, _, text = place.partition(",")
    try:
        return base64.b64decode(unquote(text), validate=True) if head.endswith(";base64") else unquote_to_bytes(text)
    except (binascii.Error, ValueError) as cause:
        raise PhotoError(f"Expected a data URI with a picture file in base64: {cause}.") from cause
