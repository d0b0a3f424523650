"""The widget: choose a photo and a network, and click to segment; undo, redo, reset, and several objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.layers import Image
from napari.utils.notifications import ErrorNotification, notification_manager
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from interactify.errors import InteractifyError
from interactify.interactions.click import Click
from interactify.tools.napari_plugin.layers import ClickLayers
from interactify.tools.napari_plugin.networks import AtService, Networks
from interactify.tools.napari_plugin.session_state import AnySession, SessionState, photo_of, state_of
from interactify.tools.napari_plugin.volume_state import (
    SpaceSession,
    is_volume,
    open_volume_layer,
    volume_state_of,
)
from interactify.tools.napari_plugin.worker import Worker

REST = 150  # milliseconds that a dragged point has to rest before the session moves its click


class ClicksWidget(QWidget):
    """The panel that napari docks beside its canvas. `napari_viewer` is the viewer, or its model.

    Closing it ends the session: the labels stay in the viewer, the clicks are removed.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.worker = Worker()
        self.session: AnySession | SpaceSession | None = None
        self.layers: ClickLayers | None = None
        self.state: SessionState | None = None
        self._networks = Networks()
        self._moving: dict[int, tuple[int, ...]] = {}
        self._opening: Callable[[], AnySession | SpaceSession] | None = None
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST)
        self._rest.timeout.connect(self._dropped)
        self._build()
        events = self.viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(self._list_photos)
        events.removed.connect(self._layer_removed)
        self._list_photos()
        self.destroyed.connect(lambda *_, worker=self.worker: worker.stop())  # with the window

    def changeEvent(self, event: Any) -> None:
        """Qt's event handler. When its dock is closed, napari takes the widget out and drops both."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._opening = None
            self.open.setEnabled(True)
            self.close_session()
            self.worker.stop()

    def _build(self) -> None:
        self.photo = QComboBox()
        self.network = QLineEdit("zoo")
        self.network.setToolTip(
            "As for interactify's --model: zoo, unet/resnet34@weights.pt, timm/NAME, …; or the address of a service"
        )
        self.target = QLineEdit()
        self.target.setPlaceholderText("the one that is clicked first")
        self.target.setToolTip("For networks of several classes: an index or a name")
        self.open = _button("Open", self.open_photo, "Start clicking on the photo")
        self.belongs, self.does_not = QRadioButton("belongs to it"), QRadioButton("does not")
        self.belongs.setChecked(True)
        self.does_not.setToolTip("Alt with a click inverts it; the key T switches between the two")
        self.belongs.toggled.connect(self._polarity_changed)
        self.undo = _button("Undo", lambda: self._apply(lambda s: s.undo()), "Ctrl+Z on the clicks")
        self.redo = _button("Redo", lambda: self._apply(lambda s: s.redo()), "Ctrl+Shift+Z on the clicks")
        self.reset = _button("Reset", lambda: self._apply(lambda s: s.reset()), "Take back all clicks on this object")
        self.object = QComboBox()
        self.object.activated.connect(self._object_chosen)
        self.new = _button("New", self.new_object, "Start another object, with its own label")
        self.delete = _button("Delete", lambda: self._apply(lambda s: s.delete(s.active)), "Take this object out")
        self.status = QLabel("Choose a photo, and open it.")
        self.status.setWordWrap(True)
        form = QFormLayout()
        form.addRow("Photo", self.photo)
        form.addRow("Network", self.network)
        form.addRow("Class", self.target)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addWidget(self.open)
        column.addLayout(_row(QLabel("A click:"), self.belongs, self.does_not))
        column.addLayout(_row(self.undo, self.redo, self.reset))
        column.addLayout(_row(QLabel("Object"), self.object, self.new, self.delete))
        column.addWidget(self.status)
        column.addStretch()
        self._enable()

    def open_photo(self) -> None:
        """Start a session on the chosen layer with the named network, and then end the previous session."""
        layer = self.photo.currentData()
        if layer is None:
            self.status.setText("There is no image layer. Open a photo in napari first.")
            return
        named, target, networks = self.network.text().strip() or "zoo", self._target(), self._networks

        def start() -> AnySession | SpaceSession:
            net = networks.named(named)
            if is_volume(layer):
                return open_volume_layer(net, layer, target)
            if not isinstance(net, AtService):
                net.check_reads_images()
            return net.session(photo_of(layer), target=target)

        self.status.setText(f"Opening {layer.name} …")
        self.open.setEnabled(False)
        self._opening = start
        self.worker.run(start, lambda outcome: self._opened(layer, outcome) if self._opening is start else None)

    def new_object(self) -> None:
        """Start another object: its label is the next one."""
        target = self._target()

        def add(session: AnySession) -> Any:
            session.add_object(target=target)
            return session.result

        self._apply(add)

    def close_session(self) -> None:
        """End the session, if there is one: its points are removed, its labels stay and can be painted on."""
        layers = self._end_session()
        if layers is not None:
            layers.remove_points()

    def _end_session(self) -> ClickLayers | None:
        """End the session, and leave the viewer's layers as they are; returns the session's layers."""
        if self.session is not None:
            self.session.cancel()  # nobody will see the running refinement's result
        layers, self.layers, self.session, self.state = self.layers, None, None, None
        self._rest.stop()
        self._moving = {}
        if layers is not None:
            layers.end()
        self._enable()
        return layers

    def _target(self) -> int | str | None:
        text = self.target.text().strip()
        return int(text) if text.isdecimal() else text or None

    def _opened(self, layer: Any, outcome: Any) -> None:
        self.open.setEnabled(True)
        self._opening = None
        if isinstance(outcome, BaseException):
            self._report(outcome)
            return
        self.close_session()
        self.session = outcome
        self.layers = ClickLayers(self.viewer, layer, outcome.size, self._clicked, self._removed, self._dragged)
        self.layers.positive = self.belongs.isChecked()
        points = self.layers.points
        points.bind_key("T", lambda _: (self.does_not if self.belongs.isChecked() else self.belongs).setChecked(True))
        points.bind_key("Control-Z", lambda _: self.undo.click())
        points.bind_key("Control-Shift-Z", lambda _: self.redo.click())
        self._apply(lambda session: session.result)

    def _apply(self, change: Callable[[Any], Any], after: bool = False) -> None:
        """Change the session in the worker's thread, and display the result, which `change` returns.

        A running refinement ends with its best so far, and its interactions are refined together with the new ones;
        unless this comes `after` it.
        """
        session = self.session
        if session is None:
            return
        if not after:
            session.cancel()
        self.status.setText("…")
        state = volume_state_of if len(session.size) == 3 else state_of
        shown: Callable[[Any, Any], SessionState] = state
        self.worker.run(lambda: shown(session, change(session)), lambda outcome: self._changed(session, outcome))

    def _changed(self, session: AnySession | SpaceSession, outcome: Any) -> None:
        if session is not self.session or self.layers is None:
            return  # it was closed in the meantime
        failed = isinstance(outcome, BaseException)
        if not failed:
            self.state = outcome
            self.status.setText(outcome.text)
        if self.state is not None:
            self.layers.show(self.state, clicks=self.worker.idle)
        self._enable()
        if failed:
            self._report(outcome)
        elif self.worker.idle and self.state is not None and self.state.waiting:
            self._apply(lambda session: session.carry(), after=True)

    def _report(self, error: BaseException) -> None:
        """Display an error; napari shows those of other libraries too, with their traceback.

        It is not raised: Qt ends the program on an exception in a slot.
        """
        if isinstance(error, InteractifyError):
            self.status.setText(str(error))
            return
        self.status.setText(f"{type(error).__name__}: {error}")
        notification_manager.dispatch(ErrorNotification(error))

    def _clicked(self, clicks: list[Click]) -> None:
        # The slice is displayed before what is carried to its neighbours.
        later = {"carry": False} if hasattr(self.session, "carry") else {}
        self._apply(lambda session: session.add(clicks, **later))

    def _removed(self, indices: list[int]) -> None:
        def remove(session: Any) -> Any:
            result = session.result
            for index in indices:
                result = session.remove(index)
            return result

        self._apply(remove)

    def _dragged(self, index: int, place: tuple[int, ...]) -> None:
        self._moving[index] = place
        self._rest.start()

    def _dropped(self) -> None:
        moving, self._moving = self._moving, {}

        def move(session: Any) -> Any:
            result = session.result
            for index, place in moving.items():
                result = session.move(index, *place)
            return result

        self._apply(move)

    def _polarity_changed(self, positive: bool) -> None:
        if self.layers is not None:
            self.layers.positive = positive
            self.layers.ready()

    def _object_chosen(self, index: int) -> None:
        if self.state is not None:
            name = self.state.objects[index]
            self._apply(lambda session: session.switch(name))

    def _list_photos(self, *_: Any) -> None:
        chosen = self.photo.currentData()
        images = [layer for layer in self.viewer.layers if isinstance(layer, Image)]
        self.photo.clear()
        for layer in images:
            self.photo.addItem(layer.name, layer)
        if images:
            self.photo.setCurrentIndex(images.index(chosen) if chosen in images else len(images) - 1)

    def _layer_removed(self, event: Any) -> None:
        if self.layers is not None and event.value in (self.layers.points, self.layers.labels):
            layers = self._end_session()
            if layers is not None and event.value is layers.labels:  # clicks without labels are of no use
                # napari may remove them itself right after this one. A function, since Qt keeps no method alive.
                QTimer.singleShot(0, lambda: layers.remove_points())
            self.status.setText("The session has ended, since its layer was removed. Open the photo to begin again.")

    def _enable(self) -> None:
        state = self.state
        self.reset.setEnabled(state is not None)
        for part in (self.object, self.new, self.delete):  # a volume has one object
            part.setEnabled(state is not None and state.labels.ndim == 2)
        self.undo.setEnabled(state is not None and state.can_undo)
        self.redo.setEnabled(state is not None and state.can_redo)
        self.object.clear()
        if state is not None:
            self.object.addItems([f"{k}: {name}" for k, name in enumerate(state.objects, 1)])
            self.object.setCurrentIndex(state.active)


def _button(text: str, pressed: Callable[[], Any], tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.clicked.connect(lambda *_: pressed())
    return button


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget, isinstance(widget, (QComboBox, QPushButton)))
    return row
