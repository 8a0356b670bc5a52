"""What is missing as a whole: persons' facts, codes without a concept, empty domains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from magml.checks.codes import structural, unmapped_codes
from magml.checks.duplicates import Duplicates
from magml.checks.features import domain_lines, features_of
from magml.checks.mapping import Mapped
from magml.checks.profile import Profile
from magml.checks.report import DomainLine, Finding, Item, UnmappedCode

_OUTCOME = "lab.magnesium"
_SHOWN = 12
#: Domains that most hospitals hold no records of; that they are empty is no fault.
_SELDOM = ("diet", "genetic", "microbiome")


def code_findings(
    profile: Profile, mapped: Mapped
) -> tuple[list[Finding], tuple[UnmappedCode, ...]]:
    """Return what is said of codes without a concept, and the commonest of them."""
    rows: Counter[str] = Counter()
    people: dict[str, int] = {}
    for code in profile.codes:
        if not mapped.concepts[code.code] and not structural(code.code):
            rows[code.code] += code["rows"]
            people[code.code] = max(people.get(code.code, 0), code.people)
    if not rows:
        return [], ()
    listed = unmapped_codes(mapped.catalogue, ((code, n, people[code]) for code, n in rows.items()))
    similar = [code for code in listed if code.resembles]
    findings = []
    if similar:
        concepts = tuple(dict.fromkeys(name for code in similar for name in code.resembles))
        lost = tuple(name for name in concepts if not mapped.used_rows.get(name))
        findings.append(
            Finding(
                "code_resembles",
                "warning",
                "rows whose code maps to no concept but resembles one",
                sum(code.rows for code in similar),
                profile.rows,
                "rows",
                "Their values reach no feature"
                + (f"; {len(lost)} of these concepts have no other rows." if lost else "."),
                "give the code its name in the catalogue (option names, the mapping, or "
                "features/*.yaml) if it is what it resembles",
                concepts,
                features_of(mapped.catalogue, lost),
                tuple(
                    Item(x.code, x.rows, f"{', '.join(x.resembles)} ({x.why})")
                    for x in similar[:_SHOWN]
                ),
            )
        )
    findings.append(
        Finding(
            "code_unmapped",
            "info",
            f"rows of {len(rows):,} codes that map to no concept",
            sum(rows.values()),
            profile.rows,
            "rows",
            "No feature is made of them. Most codes of any record have nothing to do with "
            "magnesium.",
            "look through the commonest for what the catalogue should know",
            items=tuple(Item(x.code, x.rows, ", ".join(x.resembles)) for x in listed[:_SHOWN]),
        )
    )
    return findings, listed


def coverage_findings(
    profile: Profile, mapped: Mapped
) -> tuple[list[Finding], tuple[DomainLine, ...]]:
    """Return what the data do not hold at all, and how much of each domain they do."""
    lines = domain_lines(mapped.catalogue, mapped.used_rows)
    found = list(_persons(profile, mapped))
    seldom = [line for line in lines if not line.found and line.domain in _SELDOM]
    if seldom:
        found.append(_seldom(seldom))
    for line in lines:
        if line in seldom:
            continue
        if not line.found:
            found.append(
                Finding(
                    "domain_empty",
                    "warning",
                    f"the domain {line.domain} is empty",
                    line.concepts,
                    line.concepts,
                    "concepts",
                    f"All {line.features} features of {line.domain} are missing or zero for "
                    "everybody.",
                    "bring the tables that hold it, or choose fewer domains in the model",
                    line.missing,
                    features_of(mapped.catalogue, line.missing),
                )
            )
        elif line.missing:
            found.append(
                Finding(
                    "concept_absent",
                    "info",
                    f"concepts of {line.domain} without a usable row",
                    len(line.missing),
                    line.concepts,
                    "concepts",
                    f"{line.features_lost} of {line.features} features of {line.domain} are "
                    "missing or zero for everybody.",
                    "see whether they stand under codes that map to no concept",
                    line.missing,
                    features_of(mapped.catalogue, line.missing),
                )
            )
    return found, lines


def _seldom(lines: list[DomainLine]) -> Finding:
    """Say in one line which domains are empty that most hospitals do not record."""
    names = [line.domain for line in lines]
    listed = " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]
    features = sum(line.features for line in lines)
    return Finding(
        "domain_empty",
        "info",
        f"nothing of {listed}, which few hospitals record; {features} features stay empty",
        0,
        sum(line.concepts for line in lines),
        "concepts",
        "",
        "",
        tuple(name for line in lines for name in line.missing),
    )


def _persons(profile: Profile, mapped: Mapped) -> Iterable[Finding]:
    people = profile.people
    if _OUTCOME in mapped.catalogue.by_name and not mapped.used_rows.get(_OUTCOME):
        yield Finding(
            "no_magnesium",
            "error",
            "no usable magnesium value",
            0,
            profile.rows,
            "rows",
            "There is no outcome: nothing can be trained or validated. A trained screening model "
            "can still score.",
            "bring the measurements, or map the local code to LOINC//19123-9",
            (_OUTCOME,),
            features_of(mapped.catalogue, [_OUTCOME]),
        )
    if profile.with_birth < people:
        yield Finding(
            "no_birth",
            "warning",
            "people without a date of birth",
            people - profile.with_birth,
            people,
            "people",
            "Their age is missing, and a cohort of adults leaves them out.",
            "bring MEDS_BIRTH",
            features=features_of(mapped.catalogue, ["demographic.age"]),
        )
    for kind, count, what in (
        ("several_births", profile.several_births, "more than one date of birth"),
        ("several_sexes", profile.several_sexes, "more than one sex"),
    ):
        if count:
            yield Finding(
                kind,
                "warning",
                f"people with {what}",
                count,
                people,
                "people",
                "One person's records may be those of several, or were corrected.",
                "bring the current one only, or tell the persons apart",
            )
    if not any(code.vocabulary == "VISIT" for code in profile.codes):
        yield Finding(
            "no_visits",
            "warning",
            "no visits",
            0,
            profile.rows,
            "rows",
            "No cohort can be anchored on a visit, and stays make no feature.",
            "bring VISIT//inpatient, VISIT//icu or VISIT//outpatient with their ends",
        )
    if not profile.sites:
        yield Finding(
            "no_sites",
            "info",
            "no sites",
            0,
            profile.rows,
            "rows",
            "Units cannot be told apart by site, and no validation leaves a site out.",
            "bring SITE//NAME for each person if there are several",
        )


def duplicate_findings(found: Duplicates, rows: int) -> Iterable[Finding]:
    """Yield rows that stand more than once, and moments with several values."""
    if found.repeated:
        yield Finding(
            "duplicate",
            "warning",
            "rows that say what another row says",
            found.repeated,
            rows,
            "rows",
            "Counts are too high; last, lowest and highest values are not touched.",
            "remove them at the source (an export that was appended twice, a join that multiplies)",
            items=tuple(Item(code, n) for code, n in found.by_code[:_SHOWN]),
            approximate=found.share > 1,
        )
    if found.conflicting:
        yield Finding(
            "conflicting",
            "info",
            "moments at which a person has different values of one code",
            found.conflicting,
            rows,
            "moments",
            "The value known last wins, then the larger one.",
            "nothing, if these are corrections; else find what tells the values apart",
            approximate=found.share > 1,
        )
