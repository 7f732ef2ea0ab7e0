"""`python -m lthlib.report.audit [STORE]`: fail if a table of our own is impossible."""

from __future__ import annotations

import sys

from lthlib.errors import LthError
from lthlib.packs import reference_store
from lthlib.report.audit.own import audit_store, faults


def main(arguments: list[str]) -> int:
    """Print impossible rows of a store's means over seeds; 0: none, 1: some, 2: no records."""
    try:
        store = reference_store(*arguments[:1])
        found = audit_store(store)
    except LthError as error:
        print(f"lth: {error}", file=sys.stderr)
        return 2
    if found.empty:
        print(f"lth: {store!r} has no finished run to audit", file=sys.stderr)
        return 2
    lines = faults(found)
    print("\n".join([*lines, f"{len(found):,} rows of {found['study'].nunique()} studies audited, "
                             f"{len(lines)} impossible"]))  # fmt: skip
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
