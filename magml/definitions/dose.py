"""Doses of an exposure: in which unit they add up, and what each drug of the class counts for."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

#: The unit of a dose counted in defined daily doses.
DDD = "DDD"
#: What a row can say of its order, behind the code: ``DRUG//senna//as needed//inpatient``.
#: A row that says nothing is a scheduled order of an unknown setting; a cancelled one is no
#: exposure.
ORDER_MARKS = ("as needed", "cancelled", "inpatient", "outpatient")
#: What a concept can ask of its rows.
ORDERS = ("scheduled", "as needed", "inpatient", "outpatient")


class Drug(BaseModel):
    """One drug of a class, told by its names and codes among those of the concept.

    Attributes
    ----------
    ddd
        The defined daily dose, ``40 mg``.
    share
        Part of a recorded mass that counts: elemental magnesium in a salt. What is recorded in
        moles or equivalents is of the element already.
    formula
        The salt that the share was computed of, with its water.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    codes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    ddd: str | None = None
    share: float = Field(default=1.0, gt=0, le=1)
    formula: str = ""

    @field_validator("ddd")
    @classmethod
    def _amount(cls, value: str | None) -> str | None:
        if value is not None:
            amount(value)
        return value

    @model_validator(mode="after")
    def _found(self) -> Drug:
        if not (self.codes or self.names):
            raise ValueError("a drug needs names or codes")
        return self


class Dose(BaseModel):
    """How the recorded doses of a concept add up.

    Attributes
    ----------
    unit
        ``DDD``, or the unit of the sum (``mg``, ``mg/m2``).
    molar_mass, valence
        Of what is counted, for doses recorded in moles or equivalents.
    drugs
        The drugs whose doses count; a row of the class that is none of them has no dose.
    source
        Where the numbers are from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: str
    molar_mass: float | None = Field(default=None, gt=0)
    valence: int | None = Field(default=None, gt=0)
    drugs: dict[str, Drug] = Field(min_length=1)
    source: str = ""

    @model_validator(mode="after")
    def _defined(self) -> Dose:
        for name, drug in self.drugs.items():
            if (drug.ddd is not None) != (self.unit == DDD):
                raise ValueError(
                    f"{name}: a dose in {DDD} needs the ddd of each drug, and no other has one"
                )
        return self


def amount(text: str) -> tuple[float, str]:
    """Return the number and the unit of an amount as written.

    Examples
    --------
    >>> amount("0.24 g")
    (0.24, 'g')
    """
    number, _, unit = text.strip().partition(" ")
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if value <= 0 or not unit.strip():
        raise ValueError(f"{text!r} is no amount; write a number, a blank and a unit: 40 mg")
    return value, unit.strip()
