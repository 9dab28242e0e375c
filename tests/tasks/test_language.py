"""Texts as numbers, windows of them, and what a step makes of those."""

import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from darts_jax.bilevel import optimizers
from darts_jax.data.text import Corpus, load_text, split_into_rows
from darts_jax.engine.devices import Layout
from darts_jax.errors import InputError
from darts_jax.models.language import Reading
from darts_jax.settings.config import default_config
from darts_jax.tasks.language import data as texts
from darts_jax.tasks.language.criterion import make_text_criterion
from darts_jax.types import Text
from tests.support.reference import unigram_perplexity

KEY = jax.random.key_data(jax.random.key(0))


def treebank(path, train=" a b \n c\n", valid="a\n", test="b c\n"):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in (("train", train), ("valid", valid), ("test", test)):
            archive.writestr(f"ptb.{name}.txt", text)
            archive.writestr(f"__MACOSX/._ptb.{name}.txt", b"\x00\xff")


def test_penn_treebank_is_numbered_word_by_word(tmp_path):
    treebank(tmp_path / "ptb.zip")
    for name, place in (("ptb", tmp_path), (f"ptb:{tmp_path / 'ptb.zip'}", None)):
        corpus = load_text(name, place)
        assert corpus.vocabulary == ("a", "b", "<eos>", "c")
        assert corpus.train.tolist() == [0, 1, 2, 3, 2]
        assert corpus.valid.tolist() == [0, 2]
        assert corpus.test.tolist() == [1, 3, 2]
    few = corpus.first(3)
    assert few.train.tolist() == [0, 1, 2]
    assert len(few.vocabulary) == 4
    assert few.note == "the first 3 of 5 training tokens"


def test_penn_treebank_is_read_by_characters_too(tmp_path):
    treebank(tmp_path / "ptb.zip", train="ab a\n", valid="b", test="ba\n")
    corpus = load_text("ptb_chars", tmp_path)
    assert corpus.vocabulary == ("a", "b", " ", "\n")
    assert corpus.train.tolist() == [0, 1, 2, 0, 3]
    few = corpus.first(0, held_out=2)
    assert [len(part) for part in (few.train, few.valid, few.test)] == [5, 1, 2]
    assert few.note == "the first 2 of 3 test tokens"
    both = corpus.first(4, held_out=1).note
    assert both == "the first 4 of 5 training tokens; the first 1 of 3 test tokens"


def test_penn_treebank_is_what_is_published(shared):
    corpus = load_text("ptb", shared / "data")
    sizes = [len(part) for part in (corpus.train, corpus.valid, corpus.test)]
    assert sizes == [929_589, 73_760, 82_430]
    assert len(corpus.vocabulary) == 10_000
    assert " ".join(corpus.vocabulary[i] for i in corpus.test[:6]) == (
        "no it was n't black monday"
    )


def test_a_file_is_divided_and_rare_words_are_unknown(tmp_path):
    words = ["x", "y"] * 8 + ["once", "x", "y", "y", "new", "y"]
    path = tmp_path / "tale.txt"
    path.write_text(" ".join(words))  # and the end of its one line
    corpus = load_text(f"text:{path}", None, 0.2, 0.2)
    tokens = [*words, "<eos>"]
    told = [
        [corpus.vocabulary[i] for i in part]
        for part in (corpus.train, corpus.valid, corpus.test)
    ]
    assert [len(part) for part in told] == [13, 5, 5]
    assert told[0] == tokens[:13]
    assert told[1] == ["y", "x", "y", "<unk>", "x"]
    assert told[2] == ["y", "y", "<unk>", "y", "<unk>"]


def test_a_file_is_read_by_characters(tmp_path):
    path = tmp_path / "tale.txt"
    path.write_text("abab\nabab\nabab\nabab\n")
    corpus = load_text(f"chars:{path}", None)
    assert corpus.vocabulary == ("a", "b", "\n")
    assert len(corpus.train) == 16


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ptb:nowhere.zip", "cannot read the text nowhere.zip"),
        ("text:nowhere.txt", "cannot read the text nowhere.txt"),
        ("digits", "no text 'digits'; want one of ptb"),
        ("ptb:{}/damaged.zip", "is damaged"),
        ("ptb:{}/lacking", "lacks ptb.train.txt"),
        ("text:{}/tiny.txt", "too few for three parts"),
        ("text:{}/binary", "is no UTF-8 text"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, name, told):
    (tmp_path / "damaged.zip").write_bytes(b"PK no archive")
    (tmp_path / "lacking").mkdir()
    (tmp_path / "tiny.txt").write_text("a")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=told) as raised:
        load_text(name.format(tmp_path), None)
    assert "\n" not in str(raised.value)


def test_rows_are_the_text_in_order():
    rows = split_into_rows(np.arange(11, dtype=np.int32), 3)
    assert rows.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    with pytest.raises(InputError, match="smaller batch_size"):
        split_into_rows(np.arange(5, dtype=np.int32), 3)


def test_a_unigram_model_by_hand():
    train = np.array([0, 0, 1], np.int32)
    test = np.array([0, 1], np.int32)
    corpus = Corpus("made", train, test, test, ("a", "b", "c"))
    # Counts plus one: 3, 2, 1 of 6.
    assert unigram_perplexity(corpus) == pytest.approx((3 / 6 * 2 / 6) ** -0.5)


def read(feed, epoch=0):
    layout = Layout()
    ((_, data),) = feed.open(layout)(epoch, 0)
    order = feed.order(KEY, epoch)
    steps = jax.jit(lambda i: feed.batches(data, order, i))
    return [jax.tree.map(np.asarray, steps(np.int32(i))) for i in range(feed.steps)]


def test_windows_follow_each_other_through_the_text():
    rows = split_into_rows(np.arange(900, dtype=np.int32), 3)
    feed = texts.window_feed([rows], texts.Windows(20, 4.0, 27))
    lengths = []
    for epoch in range(2):
        seen = [[] for _ in rows]
        own = []
        for i, (window,) in enumerate(read(feed, epoch)):
            length = window.present[0].sum()
            assert window.tokens.shape == (3, 27)
            assert (window.present == (np.arange(27) < length)).all()
            assert window.fresh.tolist() == [i == 0] * 3
            for row, tokens, targets in zip(
                seen, window.tokens, window.targets, strict=True
            ):
                assert (targets[:length] == tokens[:length] + 1).all()
                row += tokens[:length].tolist()
            own.append(int(length))
        # All of it, but for what too short windows left at the end.
        for row, whole in zip(seen, rows, strict=True):
            assert row == whole[: len(row)].tolist()
            assert len(row) > 0.85 * (len(whole) - 1)
        assert max(own) <= 27
        assert min(own[:-4]) >= 5
        assert len(set(own)) > 3
        lengths.append(own)
    assert lengths[0] != lengths[1]


def test_windows_have_the_published_lengths():
    windows = texts.Windows(70, 5.0, 90)
    lengths = np.asarray(windows.draw(jax.random.key(1), 20_000))
    short = lengths < 52
    assert 0.045 < short.mean() < 0.055
    assert abs(lengths[~short].mean() - 69.5) < 0.2  # rounded down
    assert abs(lengths[short].mean() - 34.5) < 0.5
    assert abs(lengths[~short].std() - 5) < 0.1
    even = np.asarray(texts.Windows(35, 0.0, 35).draw(jax.random.key(1), 1000))
    assert set(even.tolist()) == {17, 35}
    assert windows.mean == pytest.approx(0.95 * 70 + 0.05 * 35)


def test_the_shorter_text_begins_anew():
    long, short = (split_into_rows(np.arange(n, dtype=np.int32), 1) for n in (101, 41))
    feed = texts.window_feed([long, short], texts.Windows(10, 0.0, 10))
    assert feed.steps == 11
    windows = [pair[1] for pair in read(feed)]
    assert all(w.stream.tolist() == [1] for w in windows)
    fresh = [i for i, w in enumerate(windows) if w.fresh[0]]
    assert fresh == [0, 5, 10]
    np.testing.assert_array_equal(windows[0].tokens, windows[5].tokens)


def test_a_pass_reads_every_token_once():
    rows = split_into_rows(np.arange(74, dtype=np.int32), 2)
    feed = texts.text_feed(rows, 10)
    assert (feed.steps, feed.count) == (4, 72)
    seen = [w.targets[0][w.present[0]] for (w,) in read(feed)]
    assert np.concatenate(seen).tolist() == list(range(1, 37))


def made_reading(rng, batch=3, time=5, units=4):
    losses = rng.uniform(1, 3, (batch, time))
    states, dropped = rng.normal(size=(2, batch, time, units))
    return Reading(*(jnp.asarray(x, jnp.float32) for x in (losses, states, dropped)))


@pytest.mark.parametrize("stream", [0, 1])
def test_the_loss_is_the_papers(stream):
    rng, length = np.random.default_rng(0), 3
    reading = made_reading(rng)
    settings = default_config().language.network
    settings.activation, settings.slowness = 2.0, 1.0
    present = np.tile(np.arange(5) < length, (3, 1))
    tokens = np.zeros((3, 5), np.int32)
    text = Text(tokens, tokens, present, present[:, 0], np.full(3, stream, np.int32))
    criterion = make_text_criterion(settings)
    got = criterion.loss(reading, text, {})
    losses, states, dropped = (np.asarray(x)[:, :length] for x in reading)
    want = losses.mean()
    if stream == 0:  # activations cost nothing in the validation loss
        want += 2 * (dropped**2).mean() + (np.diff(states, axis=1) ** 2).mean()
    assert float(got) == pytest.approx(want, rel=1e-5)
    metrics = criterion.metrics(got, reading, text)
    assert float(metrics["loss"]) == pytest.approx(losses.sum(), rel=1e-5)
    assert float(metrics["count"]) == losses.size
    rewards = criterion.rewards(reading, text)
    assert float(rewards.mean()) == pytest.approx(80 / np.exp(losses.mean()), rel=1e-5)


def test_the_average_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    weights = {"w": jnp.asarray(rng.normal(size=3), jnp.float32)}
    on = [0, 0, 1, 1, 1, 1]
    changes = rng.normal(size=(len(on), 3)).astype(np.float32)
    state = optimizers.average_weights(0.0).init(weights)
    kept: list = []
    for switch, change in zip(on, changes, strict=True):
        averaged = optimizers.average_weights(jnp.float32(switch))
        update = {"w": jnp.asarray(change)}
        same, state = averaged.update(update, state, weights)
        assert same is update
        weights = {"w": weights["w"] + change}
        kept = [*kept, np.asarray(weights["w"], np.float64)] if switch else []
        want = np.mean(kept, axis=0) if kept else np.asarray(weights["w"])
        np.testing.assert_allclose(state.mean["w"], want, rtol=1e-5, atol=1e-6)
        if not switch:
            np.testing.assert_array_equal(state.mean["w"], weights["w"])


@pytest.mark.parametrize(
    ("scores", "patience", "want"),
    [
        ([], 2, False),
        ([9, 8, 7, 6, 5], 2, False),
        ([9, 8, 7, 7.5], 2, False),  # below 9, all that is long enough ago
        ([9, 8, 7, 8.5, 8.2], 2, True),  # above 8 of the second epoch
        ([9, 8, 7, 8.5, 8.2, 1, 1], 2, True),  # and stays so
        ([9, 10], 0, True),
        ([9, 10], 1, False),
        ([float("nan")] * 5, 1, False),
    ],
)
def test_weights_are_averaged_once_losses_no_longer_fall(scores, patience, want):
    assert optimizers.has_stopped_improving(scores, patience) is want
