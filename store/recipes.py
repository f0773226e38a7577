"""Recipes: named expressions with parameters, versioned like adapters.

The store keeps them as text; what an expression means is the language's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import false, func, select, update
from sqlalchemy.orm import Session

from .errors import RecordError, UnknownVersionError, did_you_mean
from .records import check_name, check_text
from .sql.columns import CodePointOrder
from .sql.database import Database
from .sql.models import Recipe


@dataclass(frozen=True, slots=True)
class RecipeParameter:
    """A parameter of a recipe: its name, its type, and its default as text, or None."""

    name: str
    type: str
    default: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeRecord:
    """A version of a recipe; `version` counts from 1, `created_at` is in UTC."""

    name: str
    version: int
    expression: str
    parameters: tuple[RecipeParameter, ...]
    created_at: datetime
    removed: bool

    @property
    def label(self) -> str:
        """The reference by which a person names this version: ``name@v3``."""
        return f"{self.name}@v{self.version}"


@dataclass(frozen=True, slots=True)
class SavedRecipe:
    """The outcome of saving: the version, and whether it is new."""

    recipe: RecipeRecord
    created: bool


class Recipes:
    """The recipes of a catalogue (``catalog.recipes``)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(
        self, name: str, expression: str, parameters: tuple[RecipeParameter, ...] = ()
    ) -> SavedRecipe:
        """Keep `expression` as the next version of `name`, unless the latest one is equal.

        Raises RecordError for a name that cannot be used, a parameter given twice, or text that is
        none.
        """
        check_name(name)
        check_text("expression", expression)
        names = [parameter.name for parameter in parameters]
        for parameter in parameters:
            if names.count(parameter.name) > 1:
                raise RecordError(f"parameter {parameter.name!r} of {name!r} is given twice")

        def work(session: Session) -> SavedRecipe:
            latest = _latest(session, name)
            if latest is not None:
                known = _record(latest)
                if (known.expression, known.parameters) == (expression, parameters):
                    return SavedRecipe(known, created=False)
            row = Recipe(
                name=name,
                number=_highest(session, name) + 1,
                expression=expression,
                parameters=[[item.name, item.type, item.default] for item in parameters],
                created_at=datetime.now(UTC),
                removed=False,
            )
            session.add(row)
            session.flush()
            return SavedRecipe(_record(row), created=True)

        return self._database.write(work)

    def get(self, name: str, number: int | None = None) -> RecipeRecord:
        """Return version `number` of `name`, also of a removed one, or the latest one there is.

        Raises UnknownVersionError, with near misses, when there is no such name or version.
        """

        def work(session: Session) -> RecipeRecord:
            if number is None:
                row = _latest(session, name)
            else:
                chosen = (Recipe.name == name, Recipe.number == number)
                row = session.scalar(select(Recipe).where(*chosen))
            if row is None:
                raise _unknown(session, name, number)
            return _record(row)

        return self._database.read(work)

    def versions(self, name: str) -> list[RecipeRecord]:
        """Return all versions of `name`, removed ones too, the first one first.

        Raises UnknownVersionError, with near misses, when there is no such name.
        """

        def work(session: Session) -> list[RecipeRecord]:
            query = select(Recipe).where(Recipe.name == name).order_by(Recipe.number)
            found = [_record(row) for row in session.scalars(query)]
            if not found:
                raise _unknown(session, name, None)
            return found

        return self._database.read(work)

    def latest(self) -> list[RecipeRecord]:
        """Return the latest version of every recipe that is not removed, by name."""

        def work(session: Session) -> list[RecipeRecord]:
            query = select(Recipe).where(Recipe.removed == false())
            query = query.order_by(CodePointOrder(Recipe.name), Recipe.number)
            return list({row.name: _record(row) for row in session.scalars(query)}.values())

        return self._database.read(work)

    def remove(self, name: str) -> None:
        """Remove all versions of `name`; they can still be had by number, and are counted on.

        Raises UnknownVersionError, with near misses, when there is no such name.
        """

        def work(session: Session) -> None:
            if _latest(session, name) is None:
                raise _unknown(session, name, None)
            session.execute(update(Recipe).where(Recipe.name == name).values(removed=True))

        self._database.write(work)


def _latest(session: Session, name: str) -> Recipe | None:
    query = select(Recipe).where(Recipe.name == name, Recipe.removed == false())
    return session.scalar(query.order_by(Recipe.number.desc()).limit(1))


def _highest(session: Session, name: str) -> int:
    return session.scalar(select(func.max(Recipe.number)).where(Recipe.name == name)) or 0


def _record(row: Recipe) -> RecipeRecord:
    return RecipeRecord(
        name=row.name,
        version=row.number,
        expression=row.expression,
        parameters=tuple(RecipeParameter(*item) for item in row.parameters),
        created_at=row.created_at,
        removed=row.removed,
    )


def _unknown(session: Session, name: str, number: int | None) -> UnknownVersionError:
    if number is not None and (highest := _highest(session, name)):
        known = "only v1" if highest == 1 else f"v1 to v{highest}"
        return UnknownVersionError(f"recipe {name!r} has no version {number}: it has {known}")
    kept = list(session.scalars(select(Recipe.name).where(Recipe.removed == false()).distinct()))
    return UnknownVersionError(f"no recipe is named {name!r}{did_you_mean(name, kept)}")
