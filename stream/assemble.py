"""Which concrete classes make up a service? The file that turns settings into objects; the wires are in `stream/periphery.py`.

Heavy imports wait until they are needed, so that a check of the configuration answers at once.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from config.schema import resolve
from detectors.records import Priority
from stream import alarm_memory
from stream.lane import FastLane
from stream.model.networks import Networks
from stream.model.shelf import Shelf, ShelfError
from stream.periphery import build_command_topics, build_sinks, build_sources
from stream.watches import judged_elsewhere, watches

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from datetime import datetime

    from config.load import Loaded
    from config.schema import Model, Settings, Tag
    from detectors.alarm import Memory
    from detectors.forecasters.forecaster import Forecaster
    from detectors.language.forecaster import LanguageForecaster
    from detectors.language.model import LanguageModel
    from detectors.reason.explainer import Explainer
    from detectors.reason.sentence import Language
    from detectors.records import Status
    from stream.clock import Clock
    from stream.delivery import Delivery
    from stream.journal.journal import Journal
    from stream.model.modelling import ModelLane
    from stream.model.process import Forecasting
    from stream.pipeline import Pipeline
    from stream.sources.source import Source

__all__ = [
    "build_endpoint",
    "build_lane",
    "build_pipeline",
    "context_length",
    "model_folder",
    "open_journal",
    "panel_members",
    "shelf_of",
    "state_folder",
]

WINDOW_WITHOUT_MODEL = 128
"""Steps kept per tag where no model says how many it reads."""
PATHS = 32
"""Futures of a forecast of the panel: laid out evenly, so many tell a probability to a few percent."""


def build_lane(settings: Settings, memories: dict[str, Memory]) -> FastLane:
    """Windows, detectors and alarms of every tag."""
    tags, series = watches(settings, length=context_length(settings))
    return FastLane(tags, memories, series, judged_elsewhere(settings), language=settings.language)


def alarm_names(settings: Settings) -> set[str]:
    """Every alarm that the configuration makes, as ``asset/tag/rule``."""
    return set(build_lane(settings, {}).alarms)


def open_journal(loaded: Loaded) -> Journal:
    """The journal of this configuration, made if it is missing."""
    from stream.journal.journal import Journal

    folder = state_folder(loaded)
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    settings = loaded.settings.journal
    return Journal(folder / "journal.sqlite3", max_size_mb=settings.max_size_mb, keep_days=settings.keep_days)


def state_folder(loaded: Loaded) -> Path:
    """Where the journal lies: as configured, else what systemd gives, else beside the caller; it may be a link."""
    if loaded.settings.state_folder is not None:
        return (loaded.folder / loaded.settings.state_folder).absolute()
    return Path(os.environ.get("STATE_DIRECTORY", "givre-state")).absolute()


def shelf_of(loaded: Loaded) -> Shelf:
    """Where adapters are kept."""
    return Shelf(state_folder(loaded) / "adapters")


def build_pipeline(
    loaded: Loaded,
    *,
    journal: Journal,
    clock: Clock,
    progress: Callable[[], None] = lambda: None,
    sources: Sequence[Source] | None = None,
    with_model: bool = True,
    with_sinks: bool = True,
    hurried: bool = True,
) -> Pipeline:
    """The whole service over an open journal: alarms and windows are as they were left.

    Not `hurried`, every step is read and forecast from, however long that takes: for a replay.
    """
    from stream.delivery import Delivery
    from stream.model.schedule import Schedule
    from stream.pipeline import Pipeline

    settings = loaded.settings
    lane = build_lane(settings, alarm_memory.load(journal.memory(alarm_memory.PREFIX)))
    restore(lane, journal, settings, clock.now())

    def deliveries(report: Callable[[Status], None]) -> list[Delivery]:
        return [Delivery(journal, sink, report=report, clock=clock) for sink in sinks]

    sinks = build_sinks(loaded, clock) if with_sinks else []
    return Pipeline(
        sources=build_sources(loaded, clock, journal.memory) if sources is None else sources,
        lane=lane,
        renew=partial(build_lane, settings),
        model=lambda report: _model_lane(loaded, report, clock, with_model=with_model, patient=not hurried),
        schedule=Schedule(
            rank={tag: place for place, tag in enumerate(by_priority(settings))},
            horizon=settings.panel.horizon,
            speed=clock.speed,
            hurried=hurried,
            reads=settings.model is not None,
        ),
        journal=journal,
        deliveries=deliveries,
        command_topics=build_command_topics(loaded, clock) if with_sinks else [],
        clock=clock,
        progress=progress,
    )


def build_endpoint(
    loaded: Loaded, pipeline: Pipeline, *, clock: Clock
) -> Callable[[], Coroutine[None, None, None]] | None:
    """What serves metrics and health of a pipeline, as configured; None where nothing is to listen."""
    from stream.endpoint import Endpoint

    http = loaded.settings.http
    return None if http is None else Endpoint(pipeline, host=http.host, port=http.port, clock=clock).run


def restore(lane: FastLane, journal: Journal, settings: Settings, now: datetime) -> None:
    """Fills the windows with what the journal still knows of them."""
    reach_s = max(tag.period_s * context_length(settings) + tag.hold_s for tag in settings.tags().values())
    samples = sorted(journal.samples(now - timedelta(seconds=reach_s)), key=lambda sample: sample.arrived_at)
    lane.restore((sample for sample in samples if sample.arrived_at <= now), now)


def by_priority(settings: Settings) -> list[str]:
    """Every tag, the most important first: by the highest priority of its rules, then as it stands in the file."""
    urgency = list(reversed(Priority))

    def most(tag: Tag) -> int:
        rules = (tag.tolerance, tag.breach, tag.deviation, tag.surprise)
        return min((urgency.index(Priority(rule.priority)) for rule in rules if rule is not None), default=len(urgency))

    tags = settings.tags()
    return sorted(tags, key=lambda name: most(tags[name]))


def build_forecasting(loaded: Loaded, *, patient: bool) -> Forecasting:
    """The panel, with the trained networks in use, and the language model on it where one is configured.

    Called inside the model lane's process: torch may be imported, and nobody waits for a download. A replay is `patient`: it
    begins with nothing learnt, so that it gives the same each time, and leaves no trace.
    """
    from detectors.forecasters.in_turn import InTurn
    from detectors.forecasters.panel import Panel
    from stream.learners import learners
    from stream.model.process import Forecasting

    settings = loaded.settings
    networks = Networks(shelf_of(loaded).folder)
    trained, doubts = networks.members(seed=settings.model.seed if settings.model else 0)
    members = [*panel_members(settings), *trained]
    said = f"forecasts by a panel of {', '.join(member.name for member in members)}"
    learning = learners(settings)
    state = None if patient else state_folder(loaded)
    if settings.model is None:
        panel = Panel(members, paths=PATHS)
        return Forecasting(
            panel=panel,
            learners=learning,
            description=f"no language model; {said}{doubts}",
            state=state,
            patient=patient,
            outdated=None if patient else lambda: networks.outdated,
        )
    model, adapter_outdated, doubt = _language_model(settings.model, loaded)
    language = _language_forecaster(settings.model, model, loaded)
    speaker = InTurn(language)
    return Forecasting(
        panel=Panel([*members, speaker], paths=PATHS),
        learners=learning,
        speaker=speaker,
        reader=language,
        explainer=_explainer(model, settings.language) if settings.model.explain and not patient else None,
        description=f"{language.description}; {said} and the model{doubt}{doubts}",
        state=state,
        patient=patient,
        outdated=None if patient else lambda: adapter_outdated() or networks.outdated,
    )


def panel_members(settings: Settings) -> list[Forecaster]:
    """Those forecasters of the panel that are configured, made anew."""
    from stream.model.roster import Roster

    roster = Roster(seed=settings.model.seed if settings.model else 0)
    return [roster.make(name) for name in settings.panel.members]


def context_length(settings: Settings) -> int:
    """Steps kept per tag."""
    return settings.model.context if settings.model else WINDOW_WITHOUT_MODEL


def model_folder(model: Model, loaded: Loaded) -> tuple[Path, str | None]:
    """The language model in Hugging Face layout, fetched or converted if need be, and the checksum it must still have."""
    from detectors.language.model import check_sha256
    from stream.model.weights import converted_model, default_model

    sha256 = model.sha256
    # The default model is fetched if it is not there yet.
    path = default_model() if model.path == "default" else resolve(model.path, loaded.folder)
    if model.path != "default" and path.is_file():
        if sha256 is not None:
            check_sha256(path, sha256)
        path, sha256 = converted_model(path), None
    return path, sha256


def _language_model(model: Model, loaded: Loaded) -> tuple[LanguageModel, Callable[[], bool], str]:
    """The model with its adapter, whether another adapter is in use by now, and what is doubtful about it.

    An adapter of the configuration goes before the one in use on the shelf. One of the shelf that cannot be used costs the
    adapter, not the model.
    """
    from detectors.language.adapter import examine_context
    from detectors.language.error import ModelError
    from detectors.language.model import load_model

    path, sha256 = model_folder(model, loaded)
    if model.adapter is not None:
        adapter = resolve(model.adapter, loaded.folder)
        return load_model(path, device=model.device, sha256=sha256, adapter=adapter), lambda: False, ""
    shelf, doubt = shelf_of(loaded), ""

    def in_use() -> Path | None:
        try:
            return shelf.current
        except ShelfError:
            return None

    chosen = in_use()
    try:
        if chosen is not None:
            examine_context(chosen, model.context)
        found = load_model(path, device=model.device, sha256=sha256, adapter=chosen)
    except ModelError as error:
        if chosen is None:
            raise
        found = load_model(path, device=model.device, sha256=sha256)
        doubt = f"; adapter {chosen.name} is not used: {error}"
    return found, lambda: in_use() != chosen, doubt


def _explainer(model: LanguageModel, language: Language) -> Explainer:
    from detectors.language.writer import LanguageWriter
    from detectors.reason.explainer import Explainer

    return Explainer(LanguageWriter(model), language, clock=time.perf_counter)


def _language_forecaster(model: Model, loaded_model: LanguageModel, loaded: Loaded) -> LanguageForecaster:
    from detectors.language.forecaster import LanguageForecaster

    return LanguageForecaster(
        loaded_model,
        context=model.context,
        min_context=model.min_context,
        samples=model.samples,
        temperature=model.temperature,
        seed=model.seed,
        horizon=loaded.settings.panel.horizon,
        order=by_priority(loaded.settings),
    )


def _model_lane(
    loaded: Loaded, report: Callable[[Status], None], clock: Clock, *, with_model: bool, patient: bool
) -> ModelLane:
    from detectors.forecasters.persistence import Persistence
    from stream.model.modelling import ModelLane

    return ModelLane(
        partial(build_forecasting, loaded, patient=patient) if with_model else None,
        fallback=Persistence(samples=PATHS),
        horizon=loaded.settings.panel.horizon,
        report=report,
        clock=clock,
    )
