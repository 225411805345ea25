"""The ledger: printed numbers beside ours, verdicts that can go either way, files its only source."""

import json

import nbformat
import pandas as pd
import pytest
from planted_studies import planted, write_study

from r21d_lib import plots
from r21d_lib.models.kinds import PAPER_NAMES
from r21d_lib.suite import laptop, ledger, repository, results
from r21d_lib.suite.clip_length import ClipLengths
from r21d_lib.suite.statistics import OPPOSITE, OTHER_SIZE, UNORDERED


@pytest.fixture
def own_results(tmp_path, monkeypatch):
    """Copies of the recorded numbers, as if the notebooks had just written them."""
    monkeypatch.setenv(results.RESULTS_VARIABLE, str(tmp_path))
    for path in repository.RECORDED.glob("*.json"):
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
    small = others["interval"].str.contains(laptop.NAMED)
    assert (small == (others["ours"] != "")).all()
    assert table["source"][table["ours"] != ""].str.contains("results/").all()


def test_a_run_of_laptop_size_stands_beside_every_number_of_sections_4_3_and_4_4(own_results):
    table = ledger.of_numbers()
    of_sections = table[table["where"].isin(["table 3", "table 4", "table 5", "table 6"])]
    assert of_sections["ours"].astype(float).between(0, 100).all()
    assert of_sections["interval"].str.contains(laptop.NAMED).all()
    assert of_sections["verdict"].str.startswith("needs ").all()
    rows = of_sections.set_index("what")
    films = rows.loc["R(2+1)D-18, trained on 8, tested on 32 frames: video@1 [%]"]
    lengths = ledger.of_clip_length().set_index("what")
    same = lengths.loc["R(2+1)D-18, trained on 8, tested on 32 frames"]
    assert films["ours"] == f"{same['ours']:.1f}"
    assert films["interval"].startswith(f"{same['low']:.1f} to {same['high']:.1f} (")
    assert films["source"] == same["source"]
    real = ledger.real_videos("hmdb51")["shipped"].standings().loc["R(2+1)D"]
    pretrained = rows.loc["HMDB51, R(2+1)D-34 from Kinetics: video@1 [%], 3 splits"]
    assert pretrained["ours"] == f"{100 * real['mean']:.1f}"
    assert f"({real['seeds']:.0f} seeds, {real['groups']:.0f} films)" in pretrained["interval"]
    race = ledger.studies()[ledger.RACE].standings("clip@1").loc["R3D"]
    clips = rows.loc["R3D-34, 8 frames: clip@1 [%]"]
    assert clips["ours"] == f"{100 * race['mean']:.1f}"
    assert "people" not in clips["interval"]  # it is over seeds alone


def test_a_run_that_was_not_made_stands_nowhere(studies):
    table = ledger.of_numbers().set_index("what")
    assert not table.loc["HMDB51, R(2+1)D-34 from Kinetics: video@1 [%], 3 splits", "ours"]
    assert table.loc["R(2+1)D-34, 32 frames, from scratch: video@1 [%]", "ours"]


def test_one_seed_has_no_interval_over_seeds():
    planted_race = planted({"r3d": 0.5, "r2plus1d": 0.6}, seeds=1)
    runs = laptop.beside(planted_race, {}, ClipLengths.load(), "clips")
    assert runs["R3D-34, 8 frames: clip@1 [%]"].interval.startswith("(1 seed), ")
    assert (
        runs["R(2+1)D-34, 8 frames: video@1 [%]"].interval.partition(" (")[2].startswith("1 seed, 30")
    )


def test_a_wrong_count_differs(own_results):
    recorded = json.loads((repository.RECORDED / "03_the_networks.json").read_text())
    counts = {**recorded["values"]["parameters_16"], "r3d": 33_500_000}
    change(own_results, "03_the_networks", values__parameters_16=counts)
    table = ledger.of_numbers().set_index("what")
    assert table.loc["R3D-18: parameters [10^6], 16 frames", "verdict"] == ledger.DIFFERS
    assert table.loc["MC3-18: parameters [10^6], 16 frames", "verdict"] == ledger.REPRODUCED


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.745, "within noise"), (0.55, "differs")])
def test_hmdb51_is_judged_when_its_three_splits_were_run(own_results, accuracy, verdict):
    one_split = {"provenance__profile": "hmdb51", "values__video@1": accuracy, "values__groups": 600}
    what = "HMDB51, R(2+1)D-34 from Kinetics: video@1 [%], 3 splits"
    change(own_results, "07_evaluate_hmdb51", **one_split)
    table = ledger.of_numbers().set_index("what")
    assert table.loc[what, "verdict"] == "needs HMDB51"
    assert table.loc["HMDB51, R(2+1)D-34 from Kinetics: clip@1 [%], split 1", "verdict"] == "differs"
    change(
        own_results,
        "07_evaluate_hmdb51",
        values__of_splits={"video@1": accuracy, "groups": 900.0},
    )
    row = ledger.of_numbers().set_index("what").loc[what]
    assert row["verdict"] == verdict
    assert row["ours"] == f"{100 * accuracy:.1f}"
    assert row["interval"].endswith("(900 films)")
    change(own_results, "07_evaluate_hmdb51", provenance__parameters={"changes": "epochs=1"})
    table = ledger.of_numbers().set_index("what")
    assert table.loc[what, "verdict"] == "needs HMDB51"
    assert (
        table.loc["HMDB51, R(2+1)D-34 from Kinetics: clip@1 [%], split 1", "verdict"] == "needs HMDB51"
    )


def test_recorded_numbers_stand_in_where_nothing_was_run(tmp_path, monkeypatch):
    monkeypatch.setenv(results.RESULTS_VARIABLE, str(tmp_path / "empty"))
    table = ledger.of_numbers()
    small = table["interval"].str.contains(laptop.NAMED)
    sources = table["source"][~small]
    assert sources[sources != ""].str.startswith("recorded/").all()
    assert table["source"][small].str.startswith("benchmarks/results/").all()


@pytest.fixture
def studies(tmp_path, monkeypatch):
    """A race in which the paper's best networks are best, and real videos in which nothing differs."""
    folder = tmp_path / "benchmarks"
    rates = {name: 0.4 + 0.05 * (points - 58) for name, points in ledger.table_2(16).items()}
    few = dict.fromkeys(("r2d", "fr2d", "r3d", "r2plus1d"), 0.3)
    write_study(folder / "race.json", planted(rates, seeds=8))
    write_study(folder / "real_videos.json", planted(few, seeds=3, unit="films"))
    monkeypatch.setattr(ledger, "_BENCHMARKS", folder)
    return folder


def test_table_2_is_read_from_the_printed_numbers():
    assert ledger.table_2(8)["r2plus1d"] == 64.8
    assert ledger.table_2(16)["r3d"] == 64.2
    assert list(ledger.table_2(16)) == list(PAPER_NAMES)


def test_every_pair_of_both_lengths_is_compared(studies):
    table = ledger.of_pairs()
    counts = table.groupby(["measured_on", "frames"]).size()
    assert counts.to_dict() == {
        (ledger.RACE, 8): 66,
        (ledger.RACE, 16): 66,
        (ledger.REAL, 8): 6,
        (ledger.REAL, 16): 6,
    }
    race = table[table["measured_on"] == ledger.RACE]
    assert OTHER_SIZE in set(race["verdict"])
    assert OPPOSITE not in set(race[race["frames"] == 16]["verdict"])
    tied = {
        frozenset(row) for row in race[race["verdict"] == UNORDERED][["ahead", "behind"]].to_numpy()
    }
    assert {frozenset(("MC2", "MC4")), frozenset(("R3D", "MC2"))} <= tied
    real = table[table["measured_on"] == ledger.REAL]
    assert set(real["unit"]) == {"films"}
    assert set(real["seeds"]) == {3}
    assert (race["source"] == "benchmarks/results/race.json (abc1234)").all()


def test_a_race_the_other_way_round_is_told_as_such(studies):
    worst = {name: 0.9 - 0.05 * (points - 58) for name, points in ledger.table_2(16).items()}
    write_study(studies / "race.json", planted(worst, seeds=8))
    rows = ledger.of_pairs()
    race = rows[(rows["measured_on"] == ledger.RACE) & (rows["frames"] == 16)]
    found = race.set_index(["ahead", "behind"])["verdict"]
    assert found["R(2+1)D", "f-R2D"] == OPPOSITE
    order = ledger.of_order().set_index(["measured_on", "frames"])
    assert order.loc[(ledger.RACE, 16), "high"] < 0
    training = ledger.of_figure_3().set_index("behind")
    assert len(training) == 11
    assert training.loc["f-R2D", "here"] == "behind"
    assert training["printed"].tolist().count("ahead") == 1


def test_the_figures_of_the_ledger(studies):
    table = ledger.of_pairs()
    for _, rows in table.groupby(["measured_on", "frames"]):
        figure = plots.pairs(rows)
        texts = {text.get_text() for text in figure.axes[0].texts}
        assert len(figure.axes[0].texts) == len(rows)
        assert all(text[0] in "+-" for text in texts)
        assert isinstance(figure.picture(), bytes)
        assert f"{rows['seeds'].iloc[0]} seeds, 30 {rows['unit'].iloc[0]}" in (
            figure.axes[0].get_xlabel()
        )
    assert isinstance(plots.verdicts(ledger.of_numbers(), table).picture(), bytes)


def test_a_square_shows_the_lead_of_its_row(studies):
    rows = ledger.of_pairs()
    rows = rows[(rows["measured_on"] == ledger.RACE) & (rows["frames"] == 16)]
    ax = plots.pairs(rows).axes[0]
    names = [label.get_text() for label in ax.get_yticklabels()]
    printed = ledger.table_2(16)
    by_paper = sorted(PAPER_NAMES, key=lambda name: -printed[name])
    assert [printed[name] for name in by_paper] == [
        next(printed[k] for k, paper in PAPER_NAMES.items() if paper == name) for name in names
    ]
    race = ledger.studies()[ledger.RACE]
    codes = {paper: name for name, paper in PAPER_NAMES.items()}
    for text in ax.texts:
        column, row = (int(value) for value in text.get_position())
        lead = race.lead(codes[names[row]], codes[names[column]])
        assert float(text.get_text()) == pytest.approx(100 * lead["mean"], abs=0.51)


def test_the_repositorys_studies_hold_every_network():
    race = ledger.studies()[ledger.RACE]
    assert race.networks == list(PAPER_NAMES)
    assert len(race.seeds(*race.networks)) >= 5
    assert len(race.groups) >= 30
    for data, networks, groups in (("hmdb51", 4, 83), ("ucf6", 3, 42)):
        studies = ledger.real_videos(data)
        real = studies["runs"]
        assert real.unit == "films"
        assert len(real.networks) >= networks
        assert len(real.groups) >= groups
        runs = [run for study in studies.values() for run in study.runs]
        assert {len(run["hits"]) for run in runs} == {len(real.groups)}


def test_the_published_ledger_shows_the_headlines_that_are_recorded():
    notebook = nbformat.read(repository.NOTEBOOK_FOLDER / "10_the_ledger.ipynb", as_version=4)
    outputs = (o for cell in notebook.cells for o in cell.get("outputs", []))
    texts = [o.get("data", {}).get("text/plain", "") for o in outputs]
    (shown,) = (text for text in texts if "from scratch, figures" in text)
    values = results.read_results(repository.RECORDED / "06_finetune_hmdb51.json")["values"]
    for start in ("finetuned", "from scratch"):
        for key in ("video@1", "clip@1"):
            assert f"{values[start][key]:.4f}" in shown, "run r21d reproduce --publish"


def test_headlines_come_from_the_finetuning(own_results):
    values = json.loads((own_results / "06_finetune_hmdb51.json").read_text())["values"]
    table = ledger.headlines()
    assert isinstance(table, pd.DataFrame)
    assert table.loc["finetuned, figures", "video@1"] == pytest.approx(
        values["finetuned"]["video@1"], abs=1e-4
    )
