"""The ledger: printed numbers beside ours, verdicts that can go either way, files its only source."""

import json

import pandas as pd
import pytest

from r21d_lib import plots
from r21d_lib.suite import ledger, results


@pytest.fixture
def own_results(tmp_path, monkeypatch):
    """Copies of the recorded numbers, as if the notebooks had just written them."""
    monkeypatch.setenv(results.RESULTS_VARIABLE, str(tmp_path))
    for path in results.RECORDED.glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text())
    return tmp_path


def change(folder, name, **values):
    path = folder / f"{name}.json"
    content = json.loads(path.read_text())
    for key, value in values.items():
        place = content
        *parents, last = key.split("__")
        for parent in parents:
            place = place[parent]
        place[last] = value
    path.write_text(json.dumps(content))


def test_every_printed_number_that_can_be_counted_is_reproduced(own_results):
    table = ledger.of_numbers()
    counted = table[table["interval"] == "exact"]
    assert len(counted) == 12 + 24 + 3 + 1
    assert set(counted["verdict"]) == {ledger.REPRODUCED}
    others = table[table["interval"] != "exact"]
    assert others["verdict"].str.startswith("needs ").all()
    assert not others["ours"].any()
    assert table["source"][table["ours"] != ""].str.contains("results/").all()


def test_a_wrong_count_differs(own_results):
    recorded = json.loads((results.RECORDED / "03_the_networks.json").read_text())
    counts = {**recorded["values"]["parameters_16"], "r3d": 33_500_000}
    change(own_results, "03_the_networks", values__parameters_16=counts)
    table = ledger.of_numbers().set_index("what")
    assert table.loc["R3D-18: parameters [10^6], 16 frames", "verdict"] == ledger.DIFFERS
    assert table.loc["MC3-18: parameters [10^6], 16 frames", "verdict"] == ledger.REPRODUCED


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.745, "within noise"), (0.55, "differs")])
def test_hmdb51_is_judged_when_it_was_run(own_results, accuracy, verdict):
    change(
        own_results,
        "07_evaluate_hmdb51",
        **{"provenance__profile": "hmdb51", "values__video@1": accuracy, "values__videos": 1530},
    )
    table = ledger.of_numbers().set_index("what")
    row = table.loc["HMDB51, R(2+1)D-34 from Kinetics: video@1 [%], 3 splits"]
    assert row["verdict"] == verdict
    assert row["ours"] == f"{100 * accuracy:.1f}"


def test_recorded_numbers_stand_in_where_nothing_was_run(tmp_path, monkeypatch):
    monkeypatch.setenv(results.RESULTS_VARIABLE, str(tmp_path / "empty"))
    sources = ledger.of_numbers()["source"]
    assert sources[sources != ""].str.startswith("recorded/").all()


def test_conclusions_follow_from_the_intervals():
    table = ledger.of_claims()
    for claim in table.to_dict("records"):
        low, high = map(float, claim["interval"].split(" to "))
        assert low <= float(claim["ours"]) <= high
        expected = "reproduced" if low > 0 else "differs" if high < 0 else "within noise"
        assert claim["verdict"] == expected or 0.0 in (low, high)
        assert claim["source"].startswith("benchmarks/results/")
    assert isinstance(plots.claims(table).picture(), bytes)
    assert isinstance(plots.verdicts(ledger.of_numbers(), table).picture(), bytes)


def test_headlines_come_from_the_finetuning(own_results):
    values = json.loads((own_results / "06_finetune_hmdb51.json").read_text())["values"]
    table = ledger.headlines()
    assert isinstance(table, pd.DataFrame)
    assert table.loc["finetuned, figures", "video@1"] == pytest.approx(
        values["finetuned"]["video@1"], abs=1e-4
    )
