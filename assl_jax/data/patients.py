"""Who is the patient of a file: what could put one patient on both sides of a split is said."""

import re
from collections import Counter
from collections.abc import Sequence

from assl_jax.data.names import is_unknown, one_patient_each, shown
from assl_jax.data.rows import Row
from assl_jax.errors import InputError, require

SHARE, TIMES = 1 / 3, 10  # a patient with more of all images, and as many times the usual number
NAMED = 3  # examples in a sentence


def with_patients(rows: Sequence[Row], pattern: str) -> list[Row]:
    """Give each row the patient that a regular expression, `data.patient`, finds in its path.

    Its first group is the patient, or the whole match without a group.
    """
    try:
        find = re.compile(pattern)
    except re.error as e:
        raise InputError(f"data.patient={pattern!r} is no regular expression: {e}") from e
    require(
        not any(row.patient for row in rows),
        f"data.patient={pattern!r} and a column patient both name the patients; leave one out",
    )
    found = []
    for row in rows:
        match = find.search(row.path)
        who = (match[1] if find.groups else match[0]) if match else ""
        require(
            bool(who),
            f"data.patient={pattern!r} finds nothing in {shown(row.path)}; every path needs a "
            "patient",
        )
        require(
            not is_unknown(who),
            f"data.patient={pattern!r} finds {who!r} in {shown(row.path)}, which names no patient; "
            "change it, or give each unknown patient a name of its own",
        )
        found.append(row._replace(patient=who))
    return found


def one_spelling(rows: Sequence[Row], what: str) -> tuple[list[Row], list[str]]:
    """The rows with one spelling for each patient, and notes.

    The notes name patients that were written in several ways, and a patient with so many files that
    the name may stand for all patients who are not known.
    """
    found = Counter(row.patient for row in rows if row.patient)
    name = one_patient_each(found)
    changed = [patient for patient, one in name.items() if patient != one]
    notes = []
    if changed:
        pairs = ", ".join(f"{each!r} as {name[each]!r}" for each in changed[:NAMED])
        more = " and others" if len(changed) > NAMED else ""
        notes.append(f"patients are taken for one if only the spelling differs: {pairs}{more}")
        rows = [row._replace(patient=name.get(row.patient, "")) for row in rows]
        found = Counter(row.patient for row in rows if row.patient)
    if len(found) > 2:
        (who, most), *others = found.most_common()
        if most > SHARE * sum(found.values()) and most > TIMES * others[len(others) // 2][1]:
            notes.append(
                f"patient {who!r} has {most} of {sum(found.values())} {what}s, which all go to one "
                "side of a split; if the name stands for unknown patients, give each its own"
            )
    return list(rows), notes
