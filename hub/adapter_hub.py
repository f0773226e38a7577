"""The front door: one object that ties catalogue, language and weights together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from ..store import (
    GRACE,
    Added,
    BlobStore,
    Catalog,
    Collected,
    Examination,
    Lineage,
    VersionRecord,
    Withdrawn,
    collect,
)
from .errors import OutputError
from .exchange import Exchange
from .home import Home, find_home
from .meaning import Meaning, request_of

if TYPE_CHECKING:
    from torch import Tensor

    from ..dsl.meaning.recipes import Recipe
    from .composition import Compiled, Explanation, Outdated, Request
    from .difference import Difference
    from .provenance import Facts
    from .result import Composed
    from .series import Value

# Modules that load torch or lark are imported by the methods that need them: a plain query
# must not pay for either.


class AdapterHub(Exchange):
    """A catalogue of adapters and what can be done with it.

    >>> hub = AdapterHub.open()                                         # doctest: +SKIP
    >>> hub.add("runs/xlsum-en", kind="task", language="en", task="xlsum")  # doctest: +SKIP
    >>> hub.compose("0.6*task[en] + 0.4*(lm[pt] - lm[en])", name="xlsum-pt")  # doctest: +SKIP
    """

    def __init__(self, home: Home, catalog: Catalog) -> None:
        self.home = home
        self.catalog = catalog
        self.blobs = BlobStore(home.blobs)

    @classmethod
    def init(cls, home: str | Path | None = None, database: str | None = None) -> AdapterHub:
        """Make a new catalogue, or open the one that is there.

        Args:
            home: folder; default `$ISOGLOSS_HOME`, else the platform's data folder.
            database: SQLAlchemy URL; default `$ISOGLOSS_DATABASE_URL`, else SQLite in the home.

        Raises:
            OutputError, StorageError: the home or the database cannot be made.
        """
        place = find_home(home, database)
        try:
            place.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the home '{place.path}': {error.strerror}") from error
        return cls(place, Catalog.create(place.database))

    @classmethod
    def open(cls, home: str | Path | None = None, database: str | None = None) -> AdapterHub:
        """Open an existing catalogue; never makes nor migrates one.

        Raises:
            NoCatalogError: there is none. SchemaError: it belongs to another release.
        """
        place = find_home(home, database)
        return cls(place, Catalog.open(place.database))

    def close(self) -> None:
        """Close the database connection."""
        self.catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def add(
        self,
        source: str | Path,
        *,
        language: str | Sequence[str] | None = None,
        **said: Unpack[Facts],
    ) -> Added:
        """Catalogue a PEFT folder as the next version of its name.

        What the folder's configuration, card and trainer state say is filled in, and arguments
        correct it.
        Equal content and provenance make no new version. A folder that isogloss composed (its
        lock lies beside the weights) keeps its lineage.

        Args:
            source: folder with `adapter_config.json` and `adapter_model.safetensors`.
            language: ISO 639 or BCP 47 code; several for a multilingual adapter.
            said: kind, task, name and all else that is known of it (see `Facts`). Its name is
                `TASK-LANGUAGE`, `lm-LANGUAGE` or `composed-DIGEST` unless another is given.

        Raises:
            SourceError, RefusedSourceError, LanguageError: the folder or an argument.
            WeightsError, IncompatibleError: the weights; nothing is stored.
        """
        from .addition import add_folder
        from .provenance import Provenance, languages_given

        facts = Provenance(languages=languages_given(language), **said)
        return add_folder(self.catalog, self.blobs, source, facts)

    def find(
        self,
        query: str = "",
        *,
        language: str | None = None,
        task: str | None = None,
        kind: str | None = None,
        base: str | None = None,
        peft: str | None = None,
        sort: str | None = None,
        limit: int | None = None,
        all_versions: bool = False,
    ) -> list[VersionRecord]:
        """The latest version of every name that fits; all versions on request.

        Args:
            query: a filter expression: `language = pt and steps >= 5000 and not withdrawn`.
            sort: a field; a leading `-` sorts downwards.
            limit: at most so many.

        Raises:
            ParseError: not a query. QueryError: a field that cannot be compared or sorted so.
        """
        conditions: list[Any] = []
        if query.strip():
            from ..dsl.fields import FIELDS
            from ..dsl.text.query import parse_query

            conditions.append(parse_query(query, FIELDS))
        if language is not None:
            from ..dsl.languages import normalize

            codes = [code.strip() for code in language.split(",") if code.strip()]
            language = ",".join(sorted({normalize(code) for code in codes}))
        stated = {"language": language, "task": task, "kind": kind, "base": base, "peft": peft}
        conditions += [
            ("compare", field, "=", value) for field, value in stated.items() if value is not None
        ]
        return self.catalog.find(
            ("and", tuple(conditions)), sort=sort, limit=limit, latest=not all_versions
        )

    def show(self, reference: str) -> VersionRecord:
        """One version: `name`, `name@v2`, `name@latest`, `name@sha256:PREFIX` or `sha256:PREFIX`.

        Raises:
            ParseError: not a reference. NotFoundError, AmbiguousError: not exactly one version.
        """
        from ..dsl.meaning.catalogue import find_reference
        from ..dsl.meaning.reference import parse_reference

        found = find_reference(self.catalog, parse_reference(reference))
        return self.catalog.get(found.name, found.version)

    def compose(
        self,
        expression: str,
        *,
        name: str | None = None,
        output: str | Path | None = None,
        result_language: str | Sequence[str] | None = None,
        result_task: str | None = None,
        license: str | None = None,
        note: str | None = None,
        **meaning: Unpack[Meaning],
    ) -> Composed:
        """Compose adapters into a new one, in the catalogue, in a PEFT folder, or both.

        Args:
            expression: `0.6*task[en] + 0.4*(lm[pt] - lm[en])`.
            name: of the result in the catalogue. With neither name nor output: `composed-DIGEST`.
            output: a new or empty folder, written as an ordinary PEFT adapter.
            result_language, result_task, license, note: what is recorded of the result.
            meaning: what bears on what the expression means (see `Meaning`).

        Raises:
            DslError: the program, with its place, or adapters that do not go together; or a
                function that needs more memory than it may have.
            OutputError: a folder that is taken.
        """
        from ..dsl.languages import normalize
        from .provenance import languages_given
        from .result import Result, carry_out

        compiled = self._compile(request_of(expression, **meaning))
        given = languages_given(result_language) or ()
        if name is None and output is None:
            name = f"composed-{compiled.evaluation.plan.digest[:12]}"
        result = Result(
            name=name,
            output=output,
            languages=tuple(sorted({normalize(code) for code in given})),
            languages_given=given,
            task=result_task,
            license=license,
            note=note,
        )
        return carry_out(self.catalog, self.blobs, compiled, result)

    def explain(
        self,
        expression: str,
        **meaning: Unpack[Meaning],
    ) -> Explanation:
        """What an expression means here and now: choices, canonical sum, size, divergence.

        Reads the factors of a sum that mixes them, to say how far it lies from the exact sum and
        whether its adapters have a common start; `exact(...)` is explained without reading them.
        Of weights that are not here yet only the headers are read, from where they are.

        Raises:
            DslError: as `compose`.
        """
        from .composition import compile_request, explain
        from .remote.arrival import Looking
        from .remote.client import HubClient
        from .renewal import renewals_of

        request = request_of(expression, **meaning)
        with Looking(HubClient) as look:
            compiled = compile_request(self.catalog, self.blobs, request, look=look)
            renewals = renewals_of(self.catalog, compiled.parents.values())
            return explain(self.blobs, compiled, renewals, look.downloads)

    def state_dict(
        self,
        expression: str,
        **meaning: Unpack[Meaning],
    ) -> dict[str, Tensor]:
        """The composed tensors in memory, as `peft.set_peft_model_state_dict` takes them.

        Raises:
            DslError: as `compose`.
        """
        from ..dsl.tensors.execute import state_dict
        from .composition import refuse_damaged_parents
        from .workings import made

        compiled = self._compile(request_of(expression, **meaning))
        refuse_damaged_parents(self.blobs, compiled)
        with made(self.blobs, compiled) as ready:
            return state_dict(ready.blueprint)

    def state_dicts(
        self,
        expression: str,
        *,
        over: Mapping[str, Sequence[Value]],
        **meaning: Unpack[Meaning],
    ) -> Iterator[tuple[dict[str, str], dict[str, Tensor]]]:
        """The composed tensors at many values of some parameters, each adapter read once.

        >>> for values, tensors in hub.state_dicts(           # doctest: +SKIP
        ...     "l*task[en] + (1 - l)*lm[pt]", over={"l": [0.0, 0.5, 1.0]}
        ... ):
        ...     print(values["l"], len(tensors))

        Args:
            over: values by the name of a parameter; of several names all combinations are made,
                the values of the last one changing fastest.
            meaning: what else bears on what the expression means (see `Meaning`). Where all
                results have more than `memory`, the adapters are read more than once.

        Returns:
            The values, as texts by name, and the tensors as `state_dict` gives them, one after
            another. Everything but reading tensors is done and checked when this returns.

        Raises:
            DslError: as `compose`, at whichever value it is wrong.
        """
        from .composition import refuse_damaged
        from .series import compile_series, tensors_of

        request = request_of(expression, **meaning)
        series = compile_series(self.catalog, self.blobs, request, over, self.bring)
        records = (record for _, one in series for record in one.parents.values())
        refuse_damaged(self.blobs, records)
        return tensors_of(self.blobs, series)

    def fsck(self) -> Examination:
        """Whether catalogue and weights agree: every blob rehashed, every reference followed."""
        from .fsck import check_all

        return check_all(self.catalog, self.blobs)

    def lineage(self, reference: str, *, descendants: bool = False) -> Lineage:
        """What a version was made of, or what was made of it, to the last generation.

        Raises:
            NotFoundError, AmbiguousError: not exactly one version.
        """
        record = self.show(reference)
        if descendants:
            return self.catalog.descendants(record.name, record.version)
        return self.catalog.ancestors(record.name, record.version)

    def diff(self, first: str, second: str) -> Difference:
        """How two versions differ: updates, configurations, provenance; reads both factors.

        Args:
            first, second: references, as `show` takes them.

        Raises:
            NotFoundError, AmbiguousError: not exactly one version.
            IncompatibleError: both adapt a module, but with factors of different shapes.
        """
        from .difference import difference

        records = [self.show(first), self.show(second)]
        self.bring([record for record in records if not record.here])
        return difference(self.blobs, self.show(first), self.show(second))

    def withdraw(self, reference: str, reason: str) -> Withdrawn:
        """Mark a version as one that selectors leave out; it is kept and can still be named.

        Args:
            reference: a version, such as `lm-pt@v2`.
            reason: why; a person reads it wherever the version turns up.

        Returns:
            The version, and everything that was made of it.
        """
        record = self.show(reference)
        return self.catalog.withdraw(record.name, record.version, reason)

    def outdated(self, name: str | None = None) -> list[Outdated]:
        """The compositions that would come out differently today, and why.

        Args:
            name: only the latest version of this name.
        """
        from .renewal import find_outdated

        return find_outdated(self.catalog, name)

    def compose_again(self, reference: str) -> tuple[Composed, tuple[str, ...]]:
        """Compose what a version says from today's adapters, as the next version of its name.

        Returns:
            The composition, and the summands that changed (`- ` before, `+ ` now).

        Raises:
            SourceError: the version was not composed. DslError: as `compose`.
        """
        from .renewal import changes_since, request_again
        from .result import Result, carry_out

        record = self.show(reference)
        compiled = self._compile(request_again(record))
        result = Result(
            name=record.name,
            languages=record.languages,
            languages_given=record.languages_given,
            task=record.task,
            license=record.license,
            note=record.note,
        )
        composed = carry_out(self.catalog, self.blobs, compiled, result)
        return composed, changes_since(record, compiled.evaluation)

    def recipes(self) -> dict[str, Recipe]:
        """All recipes by name: the built-in ones and the latest version of every saved one."""
        from .cookbook import recipes_of

        return recipes_of(self.catalog)

    def save_recipe(
        self, name: str, expression: str, parameters: Sequence[tuple[str, str | None]] = ()
    ) -> tuple[Recipe, bool]:
        """Keep a named expression as the next version of its name.

        Args:
            name: how it is called in expressions.
            expression: `$T` in it is a language parameter, an unbound name a scalar one.
            parameters: their order and defaults (None: required); those left out follow.

        Returns:
            The recipe, and whether it is new.
        """
        from .cookbook import save_recipe

        return save_recipe(self.catalog, name, expression, parameters)

    def recipe(self, name: str) -> Recipe:
        """One recipe: `add`, `mine`, `mine@v2`."""
        from .cookbook import find_recipe

        return find_recipe(self.catalog, name)

    def remove_recipe(self, name: str) -> tuple[str, ...]:
        """Remove a saved recipe; what was composed by it keeps its lock.

        Returns:
            The saved recipes that call it.
        """
        from .cookbook import remove_recipe

        return remove_recipe(self.catalog, name)

    def gc(self, grace: timedelta = GRACE) -> Collected:
        """Remove weights that nothing refers to and dead writers' files, after a grace period."""
        return collect(self.catalog, self.blobs, grace=grace)

    def _compile(self, request: Request) -> Compiled:
        from .composition import compile_request

        return compile_request(self.catalog, self.blobs, request, self.bring)
