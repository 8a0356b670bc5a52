"""Published findings, each repeated in the simulator; `magml simulate --check` prints them.

An experiment is a function of a generator, a world and a number of people. It yields findings:
name, what was published, what the simulator gives, the least and the most that is accepted, and
the source. The tolerance is the publication's own uncertainty: its interval, what a sample of its
size allows (two standard errors), or, where hospitals differ, what is said beside it. It is never
set by what the simulator happens to give.
"""

from magml.simulation.published.balance import BALANCE
from magml.simulation.published.common import Experiment, Found
from magml.simulation.published.drugs import DRUGS
from magml.simulation.published.inpatients import INPATIENTS
from magml.simulation.published.loading import LOADING, SIZE
from magml.simulation.published.population import POPULATION

#: In the order in which they are shown.
EXPERIMENTS: tuple[Experiment, ...] = (
    *LOADING,
    *POPULATION,
    *BALANCE,
    *DRUGS,
    *INPATIENTS,
    *SIZE,
)

__all__ = ["EXPERIMENTS", "Experiment", "Found"]
