"""Which keys may stand at a place of the file? The schema as a tree that can be walked with the keys of a file."""

from __future__ import annotations

from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["kinds", "known_keys", "models_at", "models_in", "value_of_mapping"]


def known_keys(root: type[BaseModel], path: Sequence[str | int], value: object) -> list[str]:
    """The keys that the schema knows below `path` in a file whose content is `value`; none below names of one's own."""
    models = models_at(root, path)
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    kind = value.get("type") if isinstance(value, dict) else None
    chosen = [model for model in models if kind in kinds(model)]
    return list(dict.fromkeys(name for model in chosen or models for name in model.model_fields))


def models_at(root: type[BaseModel], path: Sequence[str | int]) -> list[type[BaseModel]]:
    """The models that may stand at a place of the file."""
    place: list[Any] = [root]
    for part in path:
        place = [inner for annotation in place for inner in _inside(annotation, str(part))]
    return [model for annotation in place for model in models_in(annotation, through=False)]


def models_in(annotation: Any, *, through: bool = True) -> list[type[BaseModel]]:
    """The models that an annotation allows; with `through` also those inside mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if value_of_mapping(annotation) is not None and not through:
        return []
    return [model for argument in get_args(annotation) for model in models_in(argument, through=through)]


def value_of_mapping(annotation: Any) -> Any | None:
    """What a mapping with names of one's own holds, None for anything else."""
    if get_origin(annotation) is Annotated:
        return value_of_mapping(get_args(annotation)[0])
    return get_args(annotation)[1] if get_origin(annotation) is dict else None


def kinds(model: type[BaseModel]) -> tuple[str, ...]:
    """The words that `type` may have in a model, which tell it from the others of its place."""
    field = model.model_fields.get("type")
    return get_args(field.annotation) if field is not None and get_origin(field.annotation) is Literal else ()


def _inside(annotation: Any, part: str) -> list[Any]:
    if (value := value_of_mapping(annotation)) is not None:
        return [value]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(part)
        return [] if field is None else [field.annotation]
    if get_origin(annotation) in {Annotated, Union, UnionType}:
        return [inner for argument in get_args(annotation) for inner in _inside(argument, part)]
    return []
