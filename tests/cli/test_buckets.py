"""The whole path in a bucket: killed, resumed, retrained, reported, exported."""

import json
import signal

import numpy as np
import pytest

from darts_jax.cli.main import main
from darts_jax.files import open_place, read_npz
from darts_jax.training.checkpoint import read_newest
from tests.support.bucket import serve_bucket
from tests.support.whole_runs import TINY, start, wait_for


def arrays(run):
    found = read_newest(open_place(run) / "checkpoints" / "search", print)
    assert found is not None
    return found


@pytest.mark.slow
def test_a_run_in_a_bucket_ends_as_one_on_disk(tmp_path, capsys):
    whole = str(tmp_path / "whole")
    assert main(["run", "--run", whole, *TINY]) == 0
    with serve_bucket("runs") as bucket:
        run = f"{bucket}/runs/cut"
        place = open_place(run)
        process = start("search", run)
        wait_for(lambda: (place / "architecture/epoch_0001.npz").exists(), process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (place / "genotype.json").exists()
        process = start("search", run)
        output = process.communicate()[0]
        assert process.returncode == 0, output
        (step, there), (last, here) = arrays(run), arrays(whole)
        assert step == last
        assert there.keys() == here.keys()
        assert all(there[name].tobytes() == here[name].tobytes() for name in here)
        for path in sorted((tmp_path / "whole" / "architecture").iterdir()):
            mine = read_npz(place / "architecture" / path.name, "absent", "damaged")
            for kind, alpha in read_npz(path, "absent", "damaged").items():
                np.testing.assert_array_equal(mine[kind], alpha)
        for verb in ("retrain", "evaluate"):
            assert main([verb, "--run", run, *TINY]) == 0, capsys.readouterr().err
        assert main(["report", run]) == 0
        assert main(["export", run, "--out", f"{bucket}/exported"]) == 0
        networks = [
            json.loads((open_place(each) / "summary.json").read_text())["networks"]
            for each in (run, whole)
        ]
        assert networks[0][0]["test_accuracy"] == networks[1][0]["test_accuracy"]
        assert "<html" in (place / "report.html").read_text()
        card = json.loads(open_place(f"{bucket}/exported/card.json").read_text())
        assert card["files"]
    assert not (tmp_path / "s3:").exists()
