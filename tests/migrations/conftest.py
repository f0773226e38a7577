"""The fixtures of the store's tests: migrations run on the same databases."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_PATH = Path(__file__).parent.parent / "store" / "conftest.py"
_SPEC = spec_from_file_location("store_fixtures", _PATH)
if _SPEC is None or _SPEC.loader is None:
    raise ImportError(f"no fixtures at {_PATH}")
_fixtures = module_from_spec(_SPEC)
sys.modules[_SPEC.name] = _fixtures
_SPEC.loader.exec_module(_fixtures)

postgresql = _fixtures.postgresql
empty_url = _fixtures.empty_url
make_version = _fixtures.make_version
