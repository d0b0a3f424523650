"""Label Studio's machine learning backend: the class that label-studio-ml serves, for its smart tools.

It works with label-studio-ml 1.0.9, which PyPI has, and with 2 from its repository. `interactify label-studio` serves
it; another program calls `InteractifyBackend.serve(net)`, and passes the class to `label_studio_ml.api.init_app`.
"""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from typing import Any, ClassVar

from flask import after_this_request, has_request_context, jsonify, make_response, request
from label_studio_ml.model import LabelStudioMLBase
from PIL import Image

from interactify._version import __version__
from interactify.errors import InteractifyError, OptionError, PhotoError, text_of
from interactify.interactive import Interactive
from interactify.predictor.prompts import Prompt
from interactify.tools.label_studio_photos import KEY, URL, LabelStudio
from interactify.tools.label_studio_regions import Controls, controls_of, read_regions, region_of
from interactify.tools.prompted import Network
from interactify.tools.served import Served, image_of, status_of
from interactify.web.about import About
from interactify.web.about_network import about_network

Prediction = dict[str, Any]

logger = logging.getLogger(__name__)


class InteractifyBackend(LabelStudioMLBase):
    """Turns keypoints, rectangles and strokes of a brush into masks of the brush.

    label-studio-ml creates an instance for a project, or for each request; all share the network, which the class has.
    """

    served: ClassVar[Served | None] = None
    version: ClassVar[str] = ""  # Label Studio asks for a task's prediction again where it has none of this version

    @classmethod
    def serve(cls, net: Interactive | Network) -> None:
        """Set the network, before the first request: a wrapped one, or that of a service (`tools.prompted`)."""
        cls.served = Served(net)
        cls.version = _version(cls.served.network.about)

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
            return [self._prompted(self.served, tasks[0], controls, regions) if regions else self._prediction([])]
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
            scored = served.segment(image, name, labelled.prompt, _class(served.network.about, label))
            predicted.append(region_of(scored, controls, label))
        return self._prediction(predicted)

    def _own_predictions(self, served: Served, tasks: list[dict[str, Any]], controls: Controls) -> list[Prediction]:
        """One failed task does not fail the others; where all tasks fail, it is an error."""
        predictions, errors = [], []
        for task in tasks:
            try:
                predictions.append(self._own_prediction(served, task, controls))
            except InteractifyError as error:
                errors.append(error)
                logger.warning("interactify: task %s: %s", task.get("id"), " ".join(str(error).split()))
                predictions.append(self._prediction([]))
        if errors and len(errors) == len(tasks):
            raise errors[0]
        return predictions

    def _own_prediction(self, served: Served, task: dict[str, Any], controls: Controls) -> Prediction:
        """The network's own prediction for the labels that are its classes, or for the only label."""
        classes = {label: _class(served.network.about, label) for label in controls.labels}
        only_label = len(classes) == 1
        targets = {label: target for label, target in classes.items() if only_label or target is not None}
        if not targets:
            return self._prediction([])
        image, name = self._photo(task, controls)
        masks = {label: served.segment(image, name, Prompt(), target) for label, target in targets.items()}
        return self._prediction([region_of(each, controls, label) for label, each in masks.items() if each.mask.any()])

    def _prediction(self, regions: list[dict[str, Any]]) -> Prediction:
        scores = [region["score"] for region in regions]
        return {
            "result": regions,
            "score": sum(scores) / len(scores) if scores else 0.0,
            "model_version": self.version,
        }

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
        return image_of(self._label_studio().fetch(address, task.get("id")))

    def _label_studio(self) -> LabelStudio:
        """The server of the environment variables; where none is set, the one that connected this backend.

        A key of the environment goes to the address of the environment alone: anybody may send a request to connect.
        """
        url, key = os.environ.get(URL, ""), os.environ.get(KEY, "")
        if not key:
            url, key = url or getattr(self, "hostname", ""), getattr(self, "access_token", "")
        return _server(url, key)


@lru_cache(maxsize=4)  # it keeps its last photos and its access token from request to request
def _server(url: str, key: str) -> LabelStudio:
    return LabelStudio(url, key)


def version_of(net: Interactive) -> str:
    """The same text for the same release, weights and options.

    >>> net = interactify.wrap(interactify.zoo.load())
    >>> version_of(net) == version_of(interactify.wrap(interactify.zoo.load()))
    True
    >>> version_of(net) == version_of(interactify.wrap(interactify.zoo.load(), resolution=96))
    False
    """
    return _version(about_network(net))


def _version(about: About) -> str:
    return f"interactify {__version__} {about.version}"


def _respond_with(error: InteractifyError) -> None:
    """Make an error the current request's response, in the form of label-studio-ml's own errors.

    If it were raised, the response would be a 500 with a traceback. The log has the reason too, since Label Studio
    shows the status alone.
    """
    status, reason = status_of(error), " ".join(str(error).split())
    logger.warning("interactify: %s", reason)
    body = {"status": status, "detail": reason}
    after_this_request(lambda _: make_response(jsonify(body), status))


def _class(about: About, label: str) -> int | None:
    """The network's class of that name in any case; None where it has none, or knows no names."""
    names = [name.lower() for name in about.class_names]
    return names.index(label.lower()) if label.lower() in names else None
