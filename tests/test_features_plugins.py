"""Feature plug-ins by entry point: values by hand, refusals, and the bundle that holds them."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

import magml
from magml.bundle.load import load
from magml.definitions import read_catalogue, read_model
from magml.errors import BundleError, DefinitionError
from magml.experiments import train
from magml.experiments.inputs import model_features
from magml.features import Plan, build_features, compile_plan, with_plugins
from magml.features.plugins import GROUP
from magml.simulation import generate_hospital
from tests.conftest import ROOT
from tests.test_train import small_workspace

NAME = "lab.hypokalaemia_episodes"
NOON = pd.Timestamp("2020-01-10 12:00")


def documented() -> str:
    """Return the module of the documentation's example."""
    text = (ROOT / "docs" / "plug-ins.md").read_text(encoding="utf-8")
    return text.split("```python\n")[1].split("```")[0]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that installs a module with entry points, as pip would leave it."""
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    installed = []

    def put(source: str, name: str = NAME, module: str = "my_features") -> Path:
        (site / f"{module}.py").write_text(source)
        info = site / f"{module}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {module}:plugin\n")
        sys.modules.pop(module, None)
        installed.append(module)
        return site / f"{module}.py"

    yield put
    for module in installed:
        sys.modules.pop(module, None)


def plugin_source(body: str, **declared: str) -> str:
    """Return a module whose function has a body, with parts of the declaration replaced."""
    values = {
        "name": "'mine'", "domain": "'lab'", "label": "'Mine'", "unit": "'1'",
        "codes": "('LAB//*', 'LOINC//*')", "function": "value", **declared,
    }  # fmt: skip
    arguments = ", ".join(f"{key}={text}" for key, text in values.items())
    return (
        "from magml.features import FeaturePlugin\nstate = []\n"
        f"def value(rows, t):\n    {body}\nplugin = FeaturePlugin({arguments})\n"
    )


def potassium(hour: float, value: float, known: float | None = None, **more) -> dict:
    at = NOON + pd.Timedelta(hours=hour)
    return {
        "subject_id": 1,
        "time": at,
        "known_time": at if known is None else NOON + pd.Timedelta(hours=known),
        "code": "LOINC//2823-3",
        "numeric_value": value,
        "unit": "mmol/L",
        **more,
    }


def values(name: str, rows: list[dict], at=NOON) -> list[float]:
    catalogue = with_plugins(read_catalogue(), [name])
    return build_features(pd.DataFrame(rows), at, catalogue=catalogue, features=[name])[
        name
    ].tolist()


def test_the_documented_plugin_counts_episodes(install) -> None:
    install(documented())
    rows = [
        potassium(-50, 3.2),
        potassium(-40, 3.4),  # the same episode
        potassium(-30, 3.5),
        potassium(-20, 3.4, code="LAB//potassium"),
        potassium(-10, 4.0, subject_id=2),
        potassium(-10, 3.0, subject_id=3, unit="mg/dL"),
    ]
    assert values(NAME, rows)[:2] == [2.0, 0.0]
    assert pd.isna(values(NAME, rows)[2])


def test_a_plugin_sees_what_was_known_strictly_before(install) -> None:
    install(plugin_source("return sum(row.numeric_value for row in rows)"), "lab.mine")
    seen = [potassium(-2, 1, known=-1)]
    for extra in (
        potassium(-2, 10, known=0),  # known exactly then
        potassium(-2, 10, known=0.01),
        potassium(0, 10, known=-1),  # ordered before, happens then
        potassium(1, 10, known=-1),
    ):
        assert values("lab.mine", [*seen, extra]) == [1.0]
    assert values("lab.mine", [*seen, potassium(-2, 10, known=-0.001)]) == [11.0]
    # Static rows are always known, and nothing at all is an empty sequence.
    assert values("lab.mine", [{**potassium(0, 5), "time": None, "known_time": None}]) == [5.0]
    assert values("lab.mine", [{"subject_id": 1, "time": NOON, "code": "GENDER//F"}]) == [0.0]


def test_an_end_after_the_prediction_time_is_open(install) -> None:
    install(plugin_source("return sum(row.end_time is None for row in rows)"), "lab.mine")
    rows = [potassium(-9, 4, end_time=NOON + pd.Timedelta(hours=hours)) for hours in (-1, 0, 1)]
    for number, row in enumerate(rows):
        row["time"] += pd.Timedelta(minutes=number)
    assert values("lab.mine", rows) == [1.0]


def test_every_prediction_time_has_its_own_value_in_the_order_asked(install) -> None:
    install(plugin_source("return len(rows)"), "lab.mine")
    rows = [potassium(hour, 4.0, subject_id=person) for person in (1, 2) for hour in (-3, -1)]
    at = pd.DataFrame(
        {
            "subject_id": [2, 1, 3, 1],
            "prediction_time": [NOON, NOON - pd.Timedelta(hours=2), NOON, NOON],
        }
    )
    assert values("lab.mine", rows, at) == [2.0, 1.0, 0.0, 2.0]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("state.append(1); return float(len(state))", "another value when it is asked again"),
        ("import random; return random.random()", "another value when it is asked again"),
        ("return 1 / 0", "failed .ZeroDivisionError"),
        ("return float('inf')", "infinite"),
        ("return 'high'", "returned a str"),
    ],
)
def test_a_plugin_that_depends_on_more_than_its_rows_is_refused(install, body, why) -> None:
    install(plugin_source(body), "lab.mine")
    with pytest.raises(DefinitionError, match=f"lab.mine.*{why}"):
        values("lab.mine", [potassium(-1, 4.0)])


def test_the_check_adds_rows_of_the_future(install, monkeypatch) -> None:
    """With the rule of knowledge broken on purpose, the check notices."""
    from magml.features import plugin_run

    install(plugin_source("return len(rows)"), "lab.mine")
    monkeypatch.setattr(plugin_run, "visible", lambda rows, t: tuple(rows))
    with pytest.raises(DefinitionError, match="rows known at or after the prediction time"):
        values("lab.mine", [potassium(-1, 4.0)])


def test_magnesium_is_withheld_unless_asked_for(install) -> None:
    rows = [potassium(-1, 4.0), potassium(-2, 1.0, code="LOINC//19123-9", unit="mg/dL")]
    install(plugin_source("return len(rows)"), "lab.mine")
    assert values("lab.mine", rows) == [1.0]
    install(
        plugin_source("return len(rows)", name="'all'", reads_magnesium="True"),
        "lab.all",
        "other_features",
    )
    assert values("lab.all", rows) == [2.0]
    catalogue = with_plugins(read_catalogue(), ["lab.all"])
    with pytest.raises(DefinitionError, match="reads magnesium"):
        model_features(catalogue, read_model("hypomagnesemia_screen"))
    assert "lab.all" in model_features(catalogue, read_model("hypomagnesemia_follow"))


def test_declarations_that_do_not_fit_are_refused(install) -> None:
    catalogue = read_catalogue()
    with pytest.raises(DefinitionError, match=r"no feature plug-in 'lab.mine' is installed"):
        with_plugins(catalogue, ["lab.mine"])
    install(plugin_source("return 1"), "lab.yours")
    with pytest.raises(DefinitionError, match=r"declares itself as 'lab.mine'"):
        with_plugins(catalogue, ["lab.yours"])
    install(plugin_source("return 1", codes="'LAB//x'"), "lab.mine")
    with pytest.raises(DefinitionError, match="codes as a tuple"):
        with_plugins(catalogue, ["lab.mine"])
    install("plugin = len", "lab.mine")
    with pytest.raises(DefinitionError, match="is a builtin_function"):
        with_plugins(catalogue, ["lab.mine"])
    install("import nothing_of_that_name", "lab.mine")
    with pytest.raises(DefinitionError, match=r"does not import .ModuleNotFoundError"):
        with_plugins(catalogue, ["lab.mine"])
    install(plugin_source("return 1", name="'potassium.last'"), "lab.potassium.last")
    with pytest.raises(DefinitionError, match="name of a feature of the catalogue"):
        with_plugins(catalogue, ["lab.potassium.last"])


def test_plans_hash_the_plugin_and_survive_json(install) -> None:
    path = install(documented())
    catalogue = read_catalogue()
    names = ["lab.potassium.last", NAME]
    plain = compile_plan(catalogue, names[:1])
    assert "plugins" not in plain.to_dict()
    plan = compile_plan(with_plugins(catalogue, [NAME]), names)
    again = Plan.from_dict(plan.to_dict())
    assert (again.hash, again.plugins) == (plan.hash, plan.plugins)
    path.write_text(documented().replace("LOW = 3.5", "LOW = 3.0"))
    assert compile_plan(with_plugins(catalogue, [NAME]), names).hash != plan.hash
    content = plan.to_dict()
    content["plugins"][0]["sha256"] = "0" * 64
    with pytest.raises(BundleError, match="do not give its hash"):
        Plan.from_dict(content)


def test_a_bundle_loads_only_with_the_very_same_plugin(install, tmp_path: Path) -> None:
    path = install(documented())
    workspace = small_workspace(tmp_path / "workspace")
    file = workspace / "models" / "hypomagnesemia_screen.yaml"
    content = yaml.safe_load(file.read_text())
    content["features"] = {
        "domains": ["lab", "demographic"],
        "exclude": ["lab.magnesium*"],
        "plugins": [NAME],
    }
    file.write_text(yaml.safe_dump(content))
    records = generate_hospital(2000, seed=11).write(tmp_path / "hospital")
    run = train("demo", data=records, out=tmp_path, quick=True, track=False, workspace=workspace)
    model = magml.load(run.bundle)
    assert NAME in {plugin.name for plugin in model.plan.plugins}
    assert NAME in model.features
    at = pd.DataFrame({"subject_id": [1, 3], "prediction_time": [pd.Timestamp("2025-01-01")] * 2})
    assert model.score(records / "events.parquet", at)["risk"].between(0, 1).all()
    why = model.explain(records / "events.parquet", at)
    assert NAME in set(why.concepts["concept"])
    source = path.read_text()
    path.write_text(source + "# a word more\n")
    with pytest.raises(BundleError, match=f"source of the feature plug-in {NAME} is another"):
        load(run.bundle)
    path.write_text(source)
    assert load(run.bundle).hash == model.hash
    (path.parent / "my_features-1.0.dist-info" / "entry_points.txt").unlink()
    with pytest.raises(BundleError, match="cannot be used: no feature plug-in"):
        load(run.bundle)
