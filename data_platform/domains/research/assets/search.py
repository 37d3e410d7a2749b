"""The step of research/embeddings: texts of a day, and the vectors they lack.
Not here: what a text is (transforms/search_texts), models and vectors (search)."""

from __future__ import annotations

import datetime as dt
import functools
import logging

import dagster as dg

from data_platform.core.orchestration.automation import when_inputs_change
from data_platform.core.orchestration.specs import computed_by, spec_for
from data_platform.core.orchestration.steps import StepRun, step
from data_platform.core.settings import settings
from data_platform.domains.research.contracts.activity import SurveyAnswers
from data_platform.domains.research.contracts.discussions import DiscussionEvents
from data_platform.domains.research.contracts.graph import Mentions
from data_platform.domains.research.contracts.registry import PersonaChanges, SurveyQuestionChanges
from data_platform.domains.research.contracts.search import Embeddings
from data_platform.domains.research.search.configured import configured_model, model_identity
from data_platform.domains.research.search.embedding import known_vectors, with_vectors
from data_platform.domains.research.search.models import EmbeddingModel, NoModel
from data_platform.domains.research.transforms.search_texts import search_texts

log = logging.getLogger(__name__)
INPUTS = {
    "events": DiscussionEvents.days(),
    "personas": PersonaChanges.days(),
    "mentions": Mentions.days(),
    "answers": SurveyAnswers.days(),
    "questions": SurveyQuestionChanges.days(),
}
MOST_ROWS = 20_000
"""Input rows between two publications: some minutes of a local model, which a run that is killed keeps."""


def _spec() -> dg.AssetSpec:
    """Another model is other code: what it would say of days is not what is stored of them."""
    spec = spec_for(Embeddings, INPUTS, automation_condition=when_inputs_change())
    spec = computed_by(spec, Embeddings, search_texts)
    return spec.replace_attributes(code_version=f"{spec.code_version} {model_identity(settings())}")


@step(_spec())
def embeddings(run: StepRun) -> None:
    """Texts of discussions, surveys, personas and concepts, each distinct one embedded once by the configured model.
    Without a model they are published without vectors, and found by their words."""

    @functools.cache
    def model() -> EmbeddingModel | None:
        try:
            return configured_model(settings())
        except NoModel as missing:
            log.warning("%s", missing)
            return None

    snapshots = {name: run.lake.snapshot(needed.table) for name, needed in INPUTS.items()}
    run.publication(Embeddings).read = {INPUTS[name].table.key: found.version for name, found in snapshots.items()}

    def embed(days: list[dt.date]) -> None:
        read = {name: snapshots[name].scan(*needed.around(days)) for name, needed in INPUTS.items()}
        texts = search_texts(**read)
        found = model()
        known = known_vectors(run.lake, found, texts["text_digest"].unique().to_list()) if found else texts.clear()
        run.publish(Embeddings, [with_vectors(texts, found, known)], days)

    run.compute_each(Embeddings, INPUTS, embed, MOST_ROWS)
