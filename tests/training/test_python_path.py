"""docs/researcher.md's way from files to an accuracy in Python, run as it stands but for its size."""

import re

import pandas as pd
from test_trackers import TINY

from r21d_lib.data import hmdb51
from r21d_lib.suite.repository import REPOSITORY


def test_the_documented_lines_train_and_evaluate(tiny_data, build, tmp_path, monkeypatch, capsys):
    text = (REPOSITORY / "docs" / "researcher.md").read_text()
    (lines,) = re.findall(r"```python\n(from r21d_lib import evaluation\n.*?)```", text, re.DOTALL)
    small = [f"data={tiny_data}", "checkpoint=none", "depth=10", "quality=none", "workers=0", *TINY]
    lines, changed = re.subn(r'\["checkpoint=.*?"\]', repr([*small, "clips_per_epoch=none"]), lines)
    assert changed == 1
    fetched = []
    monkeypatch.setattr(hmdb51, "fetch", lambda: fetched.append("hmdb51"))
    monkeypatch.chdir(tmp_path)
    exec(compile(lines, "docs/researcher.md", "exec"), names := {})
    assert fetched == ["hmdb51"]
    said = pd.read_csv("said.csv")
    assert len(said) == len(names["scored"].scores.names) > 0
    assert names["run"].path.is_relative_to(build)
    assert "video@1" in capsys.readouterr().out
