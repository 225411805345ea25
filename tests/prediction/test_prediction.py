"""One video in, its actions out: the right ones, in order, in bounded memory, on paper and on video."""

import json
import struct
import weakref
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
import torch

from r21d_lib import checkpoints
from r21d_lib.data import action_figures, video
from r21d_lib.data.cache import prepare
from r21d_lib.data.lists import VideoList
from r21d_lib.errors import CheckpointError, SettingsError, VideoError
from r21d_lib.evaluation.protocol import score_videos
from r21d_lib.files import DATA_SPLITS, fitting
from r21d_lib.prediction import features, overlay
from r21d_lib.prediction.prediction import Answer, Prediction
from r21d_lib.prediction.recognizer import Recognizer
from r21d_lib.suite import pictures

FOUR = ("climb", "golf", "situp", "shake_hands")
# People whom training has not seen: it drew with seed 0.
SEED = 77


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer("figures", device="cpu")


@pytest.fixture(scope="module")
def joined(tmp_path_factory) -> tuple:
    """Return a video of four actions, two takes each, and the frame where each begins and ends."""
    takes = [
        [action_figures.render("source", action, 3, take, seed=SEED) for take in (0, 1)]
        for action in FOUR
    ]
    lengths = [sum(len(take) for take in pair) for pair in takes]
    path = tmp_path_factory.mktemp("joined") / "four.avi"
    video.write(path, [f for pair in takes for take in pair for f in take], options={"b": "2000000"})
    return path, np.cumsum([0, *lengths])


@pytest.fixture(scope="module")
def said(recognizer, joined) -> Prediction:
    return recognizer.predict(joined[0], progress=False)


def test_most_actions_of_strangers_are_recognised(recognizer):
    right = 0
    for action in action_figures.SOURCE_CLASSES:
        frames = action_figures.render("source", action, 5, 0, seed=SEED)
        right += recognizer.predict(frames, num_clips=3).top(1)[0].label == action
    assert right >= 11  # of twelve; the checkpoint's video@1 is 0.98


def test_four_actions_are_told_in_their_order_and_when(said, joined):
    spells = said.spells()
    assert [spell.label for spell in spells] == list(FOUR)
    assert spells[0].start == 0
    assert spells[-1].end == pytest.approx(joined[1][-1] / 30)
    for spell, after, border in zip(spells, spells[1:], joined[1][1:], strict=False):
        assert spell.end == after.start
        assert abs(spell.end - border / 30) < 0.5  # a clip lasts 0.73 s
    middles = [spell.label for spell in spells]
    seen = [said.at(m / 30, 1)[0].label for m in (joined[1][1:] + joined[1][:-1]) / 2]
    assert seen == middles


def test_the_timeline_covers_the_video_clip_by_clip(said, joined):
    table = said.timeline()
    assert list(table.columns) == ["start", "end", "label", "probability"]
    assert table["start"].iloc[0] == 0
    assert table["end"].iloc[-1] == pytest.approx(joined[1][-1] / 30)
    assert (table["start"].diff().dropna() <= 11 / 30 + 1e-9).all()
    assert table["probability"].between(1 / 14, 1).all()


def test_top_five_with_agreement(said):
    best = said.top(5)
    assert {answer.label for answer in best[:4]} == set(FOUR)
    assert sum(answer.probability for answer in said.top(14)) == pytest.approx(1, abs=1e-5)
    assert sum(answer.agreement for answer in said.top(14)) == pytest.approx(1)
    assert best[0].probability == max(answer.probability for answer in best)
    told = json.loads(json.dumps(said.to_dict()))
    assert told["frames"] == said.num_frames
    assert [row["label"] for row in told["timeline"]] == list(FOUR)


def test_ten_clips_as_the_evaluation_takes_them(recognizer, tmp_path):
    frames = action_figures.render("target", "throw", 2, 0, seed=SEED)
    video.write(tmp_path / "videos" / "a" / "v.avi", frames)
    listed = VideoList("one", recognizer.classes, tmp_path / "videos", ("a/v.avi",), (0,))
    prepared = prepare(listed, tmp_path / "cache", size=recognizer.clips.resize)
    expected = score_videos(recognizer.network, prepared, recognizer.clips).probabilities[0]
    found = recognizer.predict(tmp_path / "videos" / "a" / "v.avi")
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-3)
    decoded = video.decode(tmp_path / "videos" / "a" / "v.avi")
    np.testing.assert_array_equal(recognizer.predict(decoded).probabilities, found.probabilities)


def test_it_says_what_it_saw_in_a_picture(said):
    picture = said._repr_html_()
    assert picture.startswith('<img src="data:image/jpeg;base64,')
    assert f'alt="{said.top(1)[0].label} 0.' in picture


@pytest.mark.parametrize(
    ("starts", "num_frames", "edges"),
    [
        ([0, 300, 428], 450, [0, 161, 375, 450]),  # 22 frames each, and long gaps
        ([0, 11, 22], 44, [0, 16.5, 27.5, 44]),
        ([0], 5, [0, 5]),
    ],
)
def test_a_clip_is_drawn_at_its_time(starts, num_frames, edges):
    scores = np.eye(3, dtype=np.float32)[: len(starts)]
    times = np.arange(num_frames + 1) / 30
    picture = np.zeros((48, 64, 3), np.uint8)
    said = Prediction("", ("a", "b", "c"), scores, np.array(starts), 22, times, times, (picture,) * 2)
    (mesh,) = said.figure().axes[2].collections
    np.testing.assert_allclose(mesh.get_coordinates()[0, :, 0], np.array(edges) / 30)
    np.testing.assert_array_equal(np.asarray(mesh.get_array()).reshape(3, -1), scores.T)


def test_without_pictures_the_rest_is_drawn():
    times = np.arange(23) / 30
    said = Prediction(
        "", ("a", "b"), np.array([[0.75, 0.25]], np.float32), np.array([0]), 22, times, times
    )
    assert [ax.get_xlabel()[:4] for ax in said.figure().axes] == ["time", "mean"]
    assert said._repr_html_().startswith('<img src="data:image/png;base64,')


def test_features_of_other_class_names_are_others(recognizer, tmp_path, make_frames):
    video.write(tmp_path / "a.avi", make_frames(30))
    others = Recognizer("figures", classes=[f"{name}!" for name in recognizer.classes], device="cpu")
    done = []
    for one in (recognizer, recognizer, others, others):
        ((file, what),) = features.extract(
            one, {"a": tmp_path / "a.avi"}, tmp_path, ["softmax"], num_clips=1, progress=False
        )
        done.append(what)
        assert features._note(file, "safetensors")["classes"] == list(one.classes)
    assert done == ["written", "there", "written", "there"]


def with_rotation(path):
    """Make the header of an .mp4 say: turn by a quarter."""
    content = bytearray(path.read_bytes())
    one = 1 << 16
    matrix = (0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", content, content.index(b"tkhd") + 44, *matrix)
    path.write_bytes(content)


@pytest.mark.parametrize("shape", ["one frame", "portrait", "rotated", "short"])
def test_videos_of_any_shape(recognizer, tmp_path, make_frames, shape):
    count = {"one frame": 1, "short": 5}.get(shape, 30)
    height, width = (64, 48) if shape == "portrait" else (48, 64)
    path = tmp_path / "video.mp4"
    video.write(path, make_frames(count, height, width))
    if shape == "rotated":
        with_rotation(path)
    found = recognizer.predict(path)
    assert found.num_frames == count
    assert len(found.starts) == 10
    high, wide = found.pictures[0].shape[:2]
    assert (high > wide) == (shape in ("portrait", "rotated"))
    assert found.spells()[-1].end == pytest.approx(count / 30)
    overlay.write(path, found, tmp_path / "seen.mp4")
    drawn = video.decode(tmp_path / "seen.mp4")
    assert len(drawn) == count
    assert (drawn.shape[1] > drawn.shape[2]) == (shape in ("portrait", "rotated"))


def test_two_hours_are_streamed(recognizer, tmp_path):
    path = tmp_path / "long.avi"
    still = np.full((16, 16, 3), 128, np.uint8)
    video.write(path, (still for _ in range(1800)), fps=Fraction(1, 4))
    found = recognizer.predict(path, every=300)
    assert found.num_frames == 1800
    assert found.seconds(found.starts)[:3].tolist() == [0, 300, 600]
    assert found.starts[-1] == 7200 * 30 - found.span  # the checkpoint's clips are cut at 30 a second
    assert len(found.pictures) == 6
    # One still picture: one answer, from the first second to the last.
    assert [(spell.start, spell.end) for spell in found.spells()] == [(0.0, 7200.0)]


def test_no_more_frames_are_held_than_a_clip_needs(recognizer):
    alive, most = set(), 0

    def frames():
        nonlocal most
        for number in range(600):
            frame = torch.zeros(8, 8, 3, dtype=torch.uint8)
            alive.add(number)
            weakref.finalize(frame, alive.discard, number)
            most = max(most, len(alive))
            yield frame

    starts = [start for start, _ in recognizer._cut(frames(), 10, lambda start: start % 5 == 0)]
    assert starts[:3] == [0, 5, 10]
    assert starts[-1] == 600 - recognizer.clips.span
    assert recognizer.clips.span <= most <= recognizer.clips.span + 2


def test_the_overlay_has_every_frame_and_other_labels_at_other_times(said, joined, tmp_path):
    path, borders = joined
    overlay.write(path, said, tmp_path / "seen.mp4", progress=False)
    drawn, plain = video.decode(tmp_path / "seen.mp4"), video.decode(path)
    assert len(drawn) == len(plain)
    assert drawn.shape[1:] == (360, 480, 3)
    large = plain[::40].repeat(3, 1).repeat(3, 2)
    changed = np.abs(drawn[::40].astype(int) - large).mean(3)
    assert changed[:, :200].mean() < 6  # above the panel it is the video, encoded twice
    assert changed[:, 270:, :300].mean() > 40  # the panel is dark
    label = drawn[:, 264:290, :150]
    assert (label.max((1, 2, 3)) > 200).all()  # white letters in every frame
    at = [int(border) + 20 for border in borders[:-1]]
    same = np.abs(label[at[0]].astype(int) - label[at[0] + 2]).mean()
    for first, second in pairwise(at):
        assert np.abs(label[first].astype(int) - label[second]).mean() > 4 * same + 2


def test_draw_marks_a_frame_in_the_lower_left_and_keeps_the_original():
    frame = np.full((240, 320, 3), 200, np.uint8)
    half, full = ([Answer("jump", p, 1.0)] for p in (0.5, 1.0))
    drawn = overlay.draw(frame, full)
    assert drawn.shape == frame.shape
    assert (frame == 200).all()
    assert (drawn[:200] == 200).all()
    orange = [(overlay.draw(frame, a) == overlay._FIRST).all(2).sum() for a in (half, full)]
    assert orange[1] == pytest.approx(2 * orange[0], rel=0.1)
    other = overlay.draw(frame, [Answer("run", 1.0, 1.0)])
    assert (other != drawn).any()
    tiny = overlay.draw(
        frame[:9, :9], [Answer("a name that is much too long", 0.3, 1)] * 3, note="0:01"
    )
    assert tiny.shape == (9, 9, 3)


def test_the_readmes_picture_of_the_overlay(tmp_path):
    from PIL import Image

    picture = np.asarray(Image.open(pictures.write_overlay(tmp_path))).astype(int)
    assert picture.shape == (360, 3 * 480 + 2 * 8, 3)
    labels = [picture[264:290, 488 * part : 488 * part + 150] for part in range(3)]
    for label, other in pairwise([*labels, labels[0]]):
        assert label.max() > 200
        assert np.abs(label - other).mean() > 2


def test_activations(recognizer):
    clips = torch.randint(0, 255, (3, 8, 72, 96, 3), dtype=torch.uint8)
    names = ("softmax", "logits", "final_avg", "layer3", "layer4.0.conv1")
    found = recognizer.activations(clips, names)
    shapes = {name: value.shape for name, value in found.items()}
    assert shapes["softmax"] == shapes["logits"] == (3, 14)
    assert shapes["final_avg"] == (3, 128)
    assert shapes["layer3"] == (3, 64, 2, 8, 8)
    head = recognizer.network.fc(torch.from_numpy(found["final_avg"])).detach().numpy()
    np.testing.assert_allclose(head, found["logits"], atol=1e-5)
    error = recognizer._fast.choice.largest_error or 1e-4  # where the fast copy is in bfloat16
    np.testing.assert_allclose(found["softmax"], recognizer.score(clips), atol=error)
    with pytest.raises(SettingsError, match="no activation 'layer9'"):
        recognizer.activations(clips, ("layer9",))


def test_wrong_requests(recognizer, tmp_path):
    with pytest.raises(CheckpointError, match="14 classes, and 2 names were given"):
        Recognizer("figures", classes=("a", "b"))
    with pytest.raises(SettingsError, match="no device 'nonsense'"):
        Recognizer("figures", device="nonsense")
    with pytest.raises(VideoError, match="no video"):
        recognizer.predict(tmp_path / "none.avi")
    with pytest.raises(VideoError, match=r"float64 \(2, 3\)"):
        recognizer.predict(np.zeros((2, 3)))
    with pytest.raises(SettingsError, match="above 0"):
        recognizer.predict(np.zeros((1, 8, 8, 3), np.uint8), every=0)
    for many in (0, 10**23):
        with pytest.raises(SettingsError, match="num_clips must be from 1"):
            recognizer.predict(np.zeros((1, 8, 8, 3), np.uint8), num_clips=many)
        with pytest.raises(SettingsError, match="batch_size must be from 1"):
            Recognizer("figures", batch_size=many)


def test_class_names_come_with_the_package(shared_data):
    kinetics = checkpoints.read_labels("kinetics400")
    assert list(kinetics) == (shared_data / "kinetics400_classes.txt").read_text().splitlines()


def test_class_names_are_the_checkpoints():
    from torchvision.models.video import R2Plus1D_18_Weights

    kinetics = checkpoints.read_labels("kinetics400")
    assert list(kinetics) == R2Plus1D_18_Weights.KINETICS400_V1.meta["categories"]
    hmdb51 = checkpoints.read_labels("hmdb51")
    assert hmdb51 == checkpoints.read_labels(DATA_SPLITS / "hmdb51" / "classes.txt")


def test_overlay_and_timeline_say_the_same_of_every_moment(said):
    for spell in said.spells():
        for moment in np.linspace(spell.start, spell.end - 1e-3, 9):
            assert said.at(float(moment), 1)[0].label == spell.label


def test_a_moment_of_a_wavering_video_is_the_timelines_too():
    random = np.random.default_rng(0)
    for _ in range(30):
        count = int(random.integers(1, 12))
        scores = random.dirichlet(np.ones(3), count).astype(np.float32)
        starts = np.sort(random.choice(60, count, replace=False))
        times = np.arange(starts[-1] + 17) / 30
        wavering = Prediction("", ("a", "b", "c"), scores, starts, 16, times, times)
        for spell in wavering.spells():
            for moment in np.linspace(spell.start, spell.end - 1e-6, 7):
                assert wavering.at(float(moment), 1)[0].label == spell.label


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_an_overlay_keeps_the_sound(recognizer, tmp_path, make_frames, suffix, codec):
    source = tmp_path / "with sound.mkv"
    rate = 44_100
    tone = (20_000 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)).astype(np.int16)
    with av.open(str(source), "w") as file:
        picture, sound = (
            file.add_stream("ffv1", rate=30),
            file.add_stream(codec, rate=rate, layout="mono"),
        )
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv444p"
        for frame in make_frames(60):
            file.mux(picture.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        file.mux(picture.encode())
        samples = av.AudioFrame.from_ndarray(tone[None], "s16", "mono")
        samples.sample_rate, samples.pts = rate, 0
        file.mux(sound.encode(samples))
        file.mux(sound.encode())
    overlay.write(source, recognizer.predict(source, num_clips=2), tmp_path / f"seen{suffix}")
    with av.open(str(tmp_path / f"seen{suffix}")) as file:
        rate = file.streams.audio[0].rate
        heard = np.concatenate([f.to_ndarray()[0] for f in file.decode(audio=0)]).astype(float)
        pitch = np.abs(np.fft.rfft(heard)).argmax() * rate / len(heard)
        assert len(heard) / rate == pytest.approx(2, abs=0.1)
        assert pitch == pytest.approx(440, abs=5)
    with av.open(str(tmp_path / f"seen{suffix}")) as file:
        assert sum(1 for _ in file.decode(video=0)) == 60


def test_long_names_get_files_of_their_own(tmp_path):
    names = ["m" * 240, "m" * 239 + "n", "跑" * 80, "folder/" + "k" * 250]
    made = [fitting(f"{name}.avi", ".safetensors") for name in names]
    assert len(set(made)) == len(names)
    for name in made:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert fitting("short.avi", ".mp4") == "short.avi.mp4"
