"""The ``comfyui`` adapter: FLUX, or any workflow, on a ComfyUI server."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from imagen.backends.adapter import AdapterContext
from imagen.backends.comfyui.run.timings import Timings
from imagen.backends.comfyui.settings import ComfyUISettings
from imagen.backends.comfyui.workflow.fitting import fit_request, options_for
from imagen.backends.comfyui.workflow.library import is_built_in, load_workflow
from imagen.backends.comfyui.workflow.workflow import Workflow, models_in
from imagen.domain.cost import FREE, Cost
from imagen.domain.drawn import Drawn, Fitted, Health
from imagen.domain.protocols import Backend, Run
from imagen.domain.request import ImageRequest
from imagen.domain.secret_names import hide_secrets
from imagen.errors import ConfigError, CredentialError, ImagenError

if TYPE_CHECKING:
    from imagen.backends.comfyui.server.client import ComfyClient

# The modules that talk to the server are imported where they are first needed: requests, the
# websocket and Pillow take 0.1 s, which a command that only submits a job does not need.

log = logging.getLogger(__name__)


class ComfyUIBackend:
    """One ComfyUI server and one workflow. Threads share it; two at a time keep a GPU busy."""

    repeat_is_free = True
    account: str | None = None
    is_metered = True

    def __init__(
        self, name: str, settings: ComfyUISettings, env: Mapping[str, str], *, timings: Timings
    ) -> None:
        self._name = name
        self._settings = settings
        self._env = env
        self._timings = timings
        self._lock = threading.Lock()
        self._client: ComfyClient | None = None
        # A user's file is read when it is needed: it may be on the GPU's host alone.
        self._workflow = load_workflow(settings) if is_built_in(settings) else None

    def __repr__(self) -> str:
        return f"<ComfyUIBackend {self._name!r} at {self._settings.url}>"

    def fit(self, request: ImageRequest) -> Fitted:
        """The request as the workflow will draw it.

        Raises:
            RequestError: an option is unknown or not of its type; steps out of range.
            ConfigError: the user's workflow file cannot be used.
        """
        try:
            workflow = self._load()
        except FileNotFoundError:
            warning = f"workflow {self._settings.workflow!r} is not on this host; not checked here"
            return Fitted(request, (warning,))
        return fit_request(request, workflow, self._settings)

    def generate(self, request: ImageRequest, run: Run) -> Drawn:
        """One image. Blocks until it is drawn, refused, or out of time.

        Waiting in the server's queue is not limited by ``timeout_s``. A restart of the server
        is survived by drawing again with the same seed.

        Raises:
            BackendUnavailable: certainly not begun, or interrupted by another client.
            BackendStuck: the server answers but draws nothing, or cannot save.
            OutcomeUnknown: the server went away and did not come back.
            BackendRejected: the graph is wrong, or a node failed and would fail again.
            JobTimeout: it ran for ``timeout_s``; stopped.
            CredentialError: a proxy refuses the headers.
            ConfigError, RequestError: as for ``fit``.
            JobCanceled: passed on, once the prompt is stopped.
            LeaseLost: passed on; the server is left alone.
        """
        from imagen.backends.comfyui.run.prompt_run import PromptRun  # noqa: PLC0415
        from imagen.backends.comfyui.server.websocket import EventSocket  # noqa: PLC0415

        workflow = self._load_here()
        fitted = fit_request(request, workflow, self._settings)
        headers = self._headers()
        with ExitStack() as stack:
            events = EventSocket(
                self._settings.url, headers=headers, reconnect_s=self._timings.reconnect_s
            )
            stack.enter_context(closing(events))
            prompt_run = PromptRun(
                client=self._connect(),
                # The proxy's headers are for the backend's own server only.
                connect=lambda url: stack.enter_context(closing(self._make_client(url, {}))),
                events=events,
                workflow=workflow,
                request=fitted.request,
                run=run,
                settings=self._settings,
                timings=self._timings,
            )
            image = prompt_run.draw()
        return Drawn(
            data=image.data,
            model=models_in(prompt_run.graph)
            or _model_of(workflow, fitted.request)
            or workflow.name,
            seed=request.seed if workflow.takes("seed") else None,
            steps=fitted.request.steps if workflow.takes("steps") else None,
            cost=FREE,
            details=_details(workflow, fitted.request),
            # Those of fit as well: the submitting host may not have the workflow.
            warnings=(*fitted.warnings, *image.warnings),
            negative=request.negative if workflow.takes("negative") else "",
        )

    def estimate(self, request: ImageRequest) -> Cost:  # noqa: ARG002  # every image is free
        return FREE

    def affinity(self, request: ImageRequest) -> str | None:
        """The model file that the filled graph names; None where it names none, or where the
        workflow is not on this host."""
        try:
            return _model_of(self._load(), request)
        except FileNotFoundError:
            return None

    def check(self) -> Health:
        """Whether the server runs and has what the workflow needs; under 5 s."""
        from imagen.backends.comfyui.server.health import check_server  # noqa: PLC0415

        try:
            workflow = self._load_here()
            return check_server(self._connect(), workflow)
        except (ConfigError, CredentialError) as exc:
            return Health("not configured", exc.message, exc.hint)
        except ImagenError as exc:
            return Health("unreachable", exc.message, exc.hint)

    def cancel(self, external_id: str) -> None:
        """Stop the prompt, queued or running; blocks up to some 10 s until it has ended.

        Raises:
            BackendUnavailable: the server cannot be told; it may go on.
        """
        from imagen.backends.comfyui.run.interrupt_prompt import stop_prompt  # noqa: PLC0415

        client = self._connect()
        if stop_prompt(client, external_id, wait_s=self._timings.stop_s) is None:
            client.prove()
            log.warning(
                "comfyui_stop_unconfirmed",
                extra={"url": self._settings.url, "prompt_id": external_id},
            )

    def forget(self, external_id: str) -> None:
        """Drop the history entry; the server keeps its file. Best effort."""
        try:
            self._connect().forget(external_id)
        except ImagenError as exc:
            log.info("comfyui_history_kept", extra={"prompt_id": external_id, "why": exc.message})

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()

    # Made when first needed, so that building a backend does no I/O.

    def _load(self) -> Workflow:
        with self._lock:
            if self._workflow is None:
                self._workflow = load_workflow(self._settings)
            return self._workflow

    def _load_here(self) -> Workflow:
        try:
            return self._load()
        except FileNotFoundError as exc:
            raise ConfigError(
                f"backend {self._name!r}: workflow file {self._settings.workflow!r} is not there",
                "check workflow: in the configuration of the host that draws",
            ) from exc

    def _connect(self) -> ComfyClient:
        headers = self._headers()
        with self._lock:
            if self._client is None:
                self._client = self._make_client(self._settings.url, headers)
            return self._client

    def _make_client(self, url: str, headers: Mapping[str, str]) -> ComfyClient:
        from imagen.backends.comfyui.server.client import ComfyClient  # noqa: PLC0415
        from imagen.backends.comfyui.server.http_transport import Transport  # noqa: PLC0415

        transport = Transport(
            url, backend=self._name, headers=headers, headers_env=self._settings.headers_env
        )
        return ComfyClient(transport)

    def _headers(self) -> dict[str, str]:
        from imagen.backends.comfyui.server.http_transport import read_headers  # noqa: PLC0415

        return read_headers(self._settings.headers_env, self._env)


def _model_of(workflow: Workflow, request: ImageRequest) -> str | None:
    # An option may be bound to the very input that names the model.
    return models_in(workflow.fill(options_for(request, workflow)))


def _details(workflow: Workflow, request: ImageRequest) -> dict[str, Any]:
    """What is needed to draw it again, besides prompt, size, seed and steps."""
    bound = {
        name: workflow.value_of(name)
        for name in sorted(workflow.bindings.inputs)
        if name not in ("prompt", "negative", "seed", "steps", "width", "height")
    }
    return {
        "workflow": workflow.name,
        "workflow_sha256": workflow.sha256,
        "settings": hide_secrets(bound | options_for(request, workflow)),
    }


class ComfyUIAdapter:
    """How the registry makes ``type: comfyui`` backends."""

    default_queue = "gpu"
    settings_type: type[BaseModel] = ComfyUISettings

    def build(self, name: str, settings: BaseModel, context: AdapterContext) -> Backend:
        """A backend that has not contacted its server yet.

        Raises:
            ConfigError: the workflow is unknown, or takes no value for something that is set.
        """
        assert isinstance(settings, ComfyUISettings)
        return ComfyUIBackend(name, settings, context.env, timings=Timings())


adapter = ComfyUIAdapter()
