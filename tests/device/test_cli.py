"""The commands as a person or a script calls them, from files to exit codes."""

import io
import json

import httpx
import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from spinml.device import cli, runs_cli, share_cli
from spinml.device.client import Client
from spinml.device.ledger import Ledger
from spinml.device.terminal import People
from spinml.images import encode_png
from spinml.privacy.private import PrivatePhoto, SegmentedPhoto
from spinml.privacy.sanitizer import private_segments, sanitize
from spinml.privacy.similarity import OnnxEmbedder
from tests.device.models import brightness_classifier, colour_embedder, pose_model, segmenter
from tests.device.server import RUN, Script, events, failed, file, run_status, stage, told
from tests.photos import cat, ellipse, left_and_right, real_photos, request_of, standing

KEY = "sk-very-secret"


@pytest.fixture(autouse=True)
def _at_home(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPINML_API_KEY", KEY)
    monkeypatch.setenv("SPINML_LEDGER", str(tmp_path / "ledger.jsonl"))


@pytest.fixture
def files(tmp_path):
    """A request for (L2, L0), a photo with a file name that says too much, and its mask."""
    request = {
        "target_object": "dog",
        "background": "bedroom",
        "training_objective": "a secret objective",
        "label_classes": ["eating", "sleeping"],
        "privacy": {"target": "L2", "background": "L0"},
    }
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(request))
    (tmp_path / "Rex.png").write_bytes(encode_png(cat()))
    (tmp_path / "mask.png").write_bytes(encode_png(ellipse().astype(np.uint8) * 255))
    (tmp_path / "none.png").write_bytes(encode_png(np.zeros((480, 640), np.uint8)))
    segmenter(tmp_path / "s.onnx", [([32, 32, 32, 32], 0, 0.9)])
    segmenter(tmp_path / "blind.onnx", [([32, 32, 32, 32], 0, 0.01)])
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(cli.app, list(map(str, arguments)))


def serve(monkeypatch, *answers):
    """Put a scripted server behind the commands."""
    script = Script(*answers)
    answered_by(monkeypatch, script, attempts=2, pause_s=0)
    return script


def answered_by(monkeypatch, script, **options):
    for commands in (share_cli, runs_cli):
        monkeypatch.setattr(
            commands, "Client", lambda url, key: Client(url, key, transport=script, **options)
        )


def test_preview_by_mask(files):
    result = run("preview", "r.yaml", "Rex.png", "--mask", "mask.png", "--json")
    assert result.exit_code == 0, result.output
    told_ = json.loads(result.stdout)
    assert told_["mi"]["target"]["histogram"] > 0.5
    assert [item["images"] for item in told_["segments"]] == [1, 0]
    assert (files / told_["sheet"]).is_file()
    assert (files / told_["page"]).is_file()
    assert told_["words"] == {
        "objective": ["a secret objective"],
        "classes": ["eating", "sleeping"],
        "objects": ["dog"],
        "background": ["bedroom"],
    }
    assert not (files / "ledger.jsonl").exists()


def test_preview_by_segmenter(files):
    result = run("preview", "r.yaml", "Rex.png", "--segmenter", "s.onnx", "--out", "there")
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == ["there.png", "there.html"]
    assert "Nothing was sent" in result.stderr


@pytest.mark.parametrize(("out", "ends"), [("new/folder/p", 0), ("Rex.png/p", 1)])
def test_where_the_preview_goes(files, out, ends):
    result = run("preview", "r.yaml", "Rex.png", "--mask", "mask.png", "--out", out, "--json")
    assert result.exit_code == ends
    told_ = json.loads(result.stdout)
    if ends:
        assert told_["error"]["code"] == "device_error"
        assert "cannot be written" in told_["error"]["message"]
    else:
        assert (files / told_["page"]).is_file()


@pytest.mark.parametrize("by", ["keypoints", "option", "environment"])
def test_a_pose_by_file_or_model(files, monkeypatch, by):
    request = yaml.safe_load((files / "r.yaml").read_text())
    request |= {"privacy": {"target": "L1"}, "features": {"target": "pose"}}
    (files / "pose.yaml").write_text(yaml.safe_dump(request))
    person = {"pose_keypoints_2d": standing().ravel().tolist()}
    (files / "k.json").write_text(json.dumps({"people": [person]}))
    spread = np.linspace(20, 44, 17)
    coco = np.stack([spread, spread[::-1], np.full(17, 0.9)], axis=1)
    pose_model(files / "p.onnx", [(0.9, coco)], "[17, 3]")
    options = {"keypoints": ["--keypoints", "k.json"], "option": ["--pose-model", "p.onnx"]}
    if by == "environment":
        monkeypatch.setenv("SPINML_POSE_MODEL", str(files / "p.onnx"))
    result = run(
        "preview", "pose.yaml", "Rex.png", "--mask", "mask.png", *options.get(by, []), "--json"
    )
    assert result.exit_code == 0, result.output
    (target, _) = json.loads(result.stdout)["segments"]
    assert (target["what"], target["images"]) == ("a feature map (pose)", 1)


def test_noise_in_preview_and_ledger(files, monkeypatch):
    request = yaml.safe_load((files / "r.yaml").read_text()) | {"noise": {"target": 10}}
    (files / "loud.yaml").write_text(yaml.safe_dump(request))
    preview = run("preview", "loud.yaml", "Rex.png", "--mask", "mask.png", "--json")
    told_ = json.loads(preview.stdout)
    assert told_["segments"][0]["noise_sigma"] == 10
    assert told_["segments"][0]["epsilon"] > 1000
    serve(monkeypatch, told(run_status(), 201))
    run("submit", "loud.yaml", "Rex.png", "--mask", "mask.png", "--yes")
    sending, _ = Ledger().entries()
    assert sending.bundle == told_["bundle"]  # the preview showed what was sent
    assert sending.segments[0].noise_sigma == 10


def test_photos_without_the_target_are_left_out_and_said(files):
    photos, masks = ["Rex.png", "Rex.png"], ["--mask", "none.png", "--mask", "mask.png"]
    result = run("preview", "r.yaml", *photos, *masks, "--json")
    assert json.loads(result.stdout)["skipped"] == [
        {"photo": 1, "reason": "no dog was found on it"}
    ]
    assert "photo 1 is left out" in run("preview", "r.yaml", *photos, *masks).stderr


def test_the_page_numbers_the_files_and_tells_all_that_were_left_out(files):
    (files / "tiny.png").write_bytes(encode_png(ellipse(axes=(3, 3)).astype(np.uint8)))
    photos, masks = ["Rex.png"] * 3, masks_of("none", "tiny", "mask")
    run("preview", "r.yaml", *photos, *masks)
    page = (files / "preview.html").read_text()
    assert "camera photo 3" in page
    assert "photo 1: no dog was found on it" in page
    assert "photo 2: the target object is smaller than 16 pixels" in page
    colour_embedder(files / "e.onnx")
    np.savez(files / "run.npz", target=np.eye(3), background=np.eye(3), index=range(3))
    options = ["--embeddings", "run.npz", "--embedder", "e.onnx"]
    shown = run("similarity", "r.yaml", *photos, *masks, *options)
    assert "photo 1 is left out" in shown.stderr
    assert "photo 2 is left out" in shown.stderr


def test_photos_beyond_the_limit_are_not_read(files, monkeypatch):
    script = serve(monkeypatch)
    photos, masks = ["Rex.png"] * 33 + ["r.yaml"], masks_of(*["mask"] * 34)
    result = run("submit", "r.yaml", *photos, *masks, "--json")
    error = json.loads(result.stdout)["error"]
    assert (error["code"], script.requests) == ("bundle_limit", [])
    assert "target is on more than 32 photos" in error["message"]


def test_similarity_of_private_segments_and_a_runs_embeddings(files):
    colour_embedder(files / "e.onnx")
    photo = SegmentedPhoto(PrivatePhoto(cat()), {"target": ellipse()})
    private = private_segments(request_of(), [photo])
    own = {n: OnnxEmbedder(files / "e.onnx")(s) for n, s in private.items()}
    away = np.float32([[0, 0, -1]])
    np.savez(
        files / "run.npz", target=own["target"], background=away, index=[3],
        prompt_target=own["target"], prompt_background=away, empty_prompt=away,
    )  # fmt: skip
    options = ["--embeddings", "run.npz", "--embedder", "e.onnx", "--mask", "mask.png"]
    result = run("similarity", "r.yaml", "Rex.png", *options, "--json")
    assert result.exit_code == 0, result.output
    target, background = (json.loads(result.stdout)[name] for name in ("target", "background"))
    assert target["sim"] == pytest.approx(1.0, abs=1e-5)
    assert background["sim"] < 0
    assert target["prompt_sim"]["prompts"] == pytest.approx(1.0, abs=1e-5)
    assert target["prompt_sim"]["empty"] < 0
    assert target["copies"] is None  # one photo makes no baseline
    assert target["same_photo"]["images"] == 1
    assert background["same_photo"]["images"] == 0
    shown = run("similarity", "r.yaml", "Rex.png", *options)
    assert shown.stdout.splitlines()[:2] == [
        "figure\ttarget\tbackground",
        f"SIM\t1.000\t{background['sim']:.3f}",
    ]
    assert "too few photos for a baseline" in shown.stdout
    assert "Rex" not in shown.stdout + shown.stderr


def test_distractors_widen_the_attackers_gallery(files):
    colour_embedder(files / "e.onnx")
    np.savez(files / "run.npz", target=np.eye(3), background=np.eye(3), index=range(3))
    options = ["--embeddings", "run.npz", "--embedder", "e.onnx", "--segmenter", "s.onnx"]
    (files / "other.png").write_bytes(encode_png(np.ascontiguousarray(cat()[:, ::-1])))
    distractors = ["--distractor", "other.png", "--distractor", "other.png"]
    result = run("similarity", "r.yaml", "Rex.png", *options, *distractors, "--json")
    assert result.exit_code == 0, result.output
    attack = json.loads(result.stdout)["target"]["same_photo"]
    assert (attack["images"], attack["gallery"], attack["rate"]) == (1, 3, 1.0)
    assert json.loads(result.stdout)["target"]["prompt_sim"] is None
    assert "no text tower" in run("similarity", "r.yaml", "Rex.png", *options).stdout


def test_similarity_of_a_file_without_places(files):
    colour_embedder(files / "e.onnx")
    np.savez(files / "old.npz", target=np.eye(3), background=np.eye(3))
    options = ["--embeddings", "old.npz", "--embedder", "e.onnx", "--mask", "mask.png"]
    result = run("similarity", "r.yaml", "Rex.png", *options)
    assert result.exit_code == 1
    assert "lack index" in result.stderr


def test_similarity_refuses_what_is_no_embeddings_file(files):
    colour_embedder(files / "e.onnx")
    options = ["--embeddings", "mask.png", "--embedder", "e.onnx", "--mask", "mask.png"]
    result = run("similarity", "r.yaml", "Rex.png", *options, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "model_file_error"


def test_similarity_of_close_ups_alone(files):
    close = np.zeros((480, 640), np.uint8)
    close[10:470, 10:630] = 255
    (files / "close.png").write_bytes(encode_png(close))
    colour_embedder(files / "e.onnx")
    np.savez(files / "run.npz", target=np.eye(3), background=np.eye(3), index=range(3))
    options = ["--embeddings", "run.npz", "--embedder", "e.onnx", *masks_of(*["close"] * 3)]
    result = run("similarity", "r.yaml", *["Rex.png"] * 3, *options, "--json")
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    assert list(measured) == ["target"]
    assert measured["target"]["copies"]["images"] == 3


@pytest.mark.parametrize(
    "content",
    [
        {"target": np.eye(4), "background": np.eye(4), "index": range(4)},
        {"target": np.zeros((3, 3)), "background": np.eye(3), "index": range(3)},
        {"target": np.full((3, 3), np.nan), "background": np.eye(3), "index": range(3)},
        {"target": np.eye(3), "background": np.eye(3), "index": range(2)},
        {"target": np.eye(3), "background": np.eye(3), "index": 3},
        {"target": np.eye(3), "background": np.eye(3), "index": [0.5, 1, 2]},
        {"target": np.ones(3), "background": np.eye(3), "index": range(3)},
        {"target": np.eye(3), "background": np.eye(3), "index": range(3),
         "prompt_target": np.eye(2), "empty_prompt": np.eye(2)},
        b"",
        b"PK\x03\x04",
        "cut off",
        "changed",
        "npy",
    ],
)  # fmt: skip
def test_similarity_of_embeddings_that_cannot_be(files, content):
    colour_embedder(files / "e.onnx")
    path = files / "run.npz"
    np.savez(path, target=np.eye(3), background=np.eye(3), index=range(3))
    whole = path.read_bytes()
    if isinstance(content, dict):
        np.savez(path, **content)
    elif content == "npy":
        np.save(files / "run.npy", np.eye(3))
        path.write_bytes((files / "run.npy").read_bytes())
    else:
        changed = whole.replace(b"\xf0?", b"\xf1?", 1)
        path.write_bytes({"cut off": whole[:-100], "changed": changed}.get(content, content))
    options = ["--embeddings", "run.npz", "--embedder", "e.onnx", "--mask", "mask.png"]
    result = run("similarity", "r.yaml", "Rex.png", *options, "--json")
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "model_file_error"
    assert error["remedy"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["r.yaml", "Rex.png", "--segmenter", "blind.onnx"], "no_target_found"),
        (["r.yaml", "Rex.png", "--mask", "none.png"], "no_target_found"),
        (["r.yaml"], "no_target_found"),
        (["r.yaml", "Rex.png", "--segmenter", "r.yaml"], "model_file_error"),
        (["unknown.yaml", "Rex.png", "--segmenter", "s.onnx"], "unknown_object"),
        (["r.yaml", "Rex.png", "--mask", "small.png"], "photo_error"),
        (["r.yaml", "Rex.png", "Rex.png", "--mask", "mask.png"], "photo_error"),
        (["r.yaml", "r.yaml", "--mask", "mask.png"], "photo_error"),
        (["none.yaml", "Rex.png"], "invalid_request"),
        (["r.yaml", "Rex.png", "--mask", "mask.png", "--hole", "star"], "invalid_request"),
        (["pose.yaml", "Rex.png", "--mask", "mask.png"], "unknown_feature"),
        (["body.yaml", "Rex.png", "--mask", "mask.png"], "feature_missing"),
        (
            ["body.yaml", "Rex.png", "--mask", "mask.png", "--keypoints", "0.json"],
            "feature_missing",
        ),
        (["body.yaml", "Rex.png", "--mask", "mask.png", "--keypoints", "r.yaml"], "photo_error"),
        (
            ["body.yaml", "Rex.png", "--mask", "mask.png", "--pose-model", "0.json"],
            "model_file_error",
        ),
        (
            [
                "body.yaml",
                "Rex.png",
                "--mask",
                "mask.png",
                "--keypoints",
                "0.json",
                "--keypoints",
                "0.json",
            ],
            "photo_error",
        ),
        (["deep.yaml", "Rex.png", "--mask", "mask.png"], "feature_missing"),
        (["loud.yaml", "Rex.png", "--mask", "mask.png"], "invalid_request"),
    ],
)
def test_whatever_fails_sends_nothing(files, monkeypatch, arguments, code):
    script = serve(monkeypatch)
    text = (files / "r.yaml").read_text()
    (files / "unknown.yaml").write_text(text.replace("dog", "unicorn"))
    pose = yaml.safe_load(text) | {"features": {"target": "no-such"}, "privacy": {"target": "L1"}}
    (files / "pose.yaml").write_text(yaml.safe_dump(pose))
    (files / "body.yaml").write_text(yaml.safe_dump(pose | {"features": {"target": "pose"}}))
    (files / "deep.yaml").write_text(yaml.safe_dump(pose | {"features": {"target": "depth"}}))
    (files / "loud.yaml").write_text(yaml.safe_dump(pose | {"noise": {"target": 10}}))
    (files / "0.json").write_text(json.dumps({"people": [{"pose_keypoints_2d": [0.0] * 54}]}))
    (files / "small.png").write_bytes(encode_png(np.ones((5, 5), np.uint8)))
    result = run("submit", *arguments, "--json")
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert error["code"] == code, error
    assert "Rex" not in result.output
    assert script.requests == []
    assert not (files / "ledger.jsonl").exists()


def test_submit_watches_and_records(files, monkeypatch):
    script = serve(
        monkeypatch,
        told(run_status(), 201),
        told(run_status("running")),
        events(("1", "stage", stage(4)), ("2", "stage", stage(10, "done")),
               ("3", "state", {"state": "succeeded"})),
        told(run_status("succeeded")),
    )  # fmt: skip
    result = run("submit", "r.yaml", "Rex.png", "--mask", "mask.png", "--watch", "--yes")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [RUN, f"{RUN}\tsucceeded"]
    sending, accepted = Ledger().entries()
    assert (sending.state, accepted.state, accepted.run) == ("sending", "accepted", RUN)
    assert sending.bundle == script.requests[0].headers["Idempotency-Key"]
    for secret in (b"Rex", b"sk-very"):
        assert secret not in script.requests[0].content
    assert KEY not in result.output


def test_the_ledger_is_written_before_a_byte_leaves(files, monkeypatch):
    seen = []

    class Watching(Script):
        def handle_request(self, request):
            seen.extend(entry.state for entry in Ledger().entries())
            return super().handle_request(request)

    script = Watching(failed(422, "preference_violation"))
    answered_by(monkeypatch, script)
    result = run("submit", "r.yaml", "Rex.png", "--mask", "mask.png", "--yes")
    assert result.exit_code == 1
    assert "so it is" in result.stderr
    assert seen == ["sending"]
    assert [entry.state for entry in Ledger().entries()] == ["sending", "failed"]
    assert Ledger().entries()[-1].error == "preference_violation"


def test_a_server_that_is_away(files, monkeypatch):
    serve(monkeypatch, httpx.ConnectError("no"), httpx.ConnectError("no"))
    result = run("submit", "r.yaml", "Rex.png", "--mask", "mask.png", "--json")
    assert json.loads(result.stdout)["error"]["code"] == "server_unavailable"
    assert [entry.state for entry in Ledger().entries()] == ["sending", "failed"]


def test_asking_first_at_a_terminal(files, monkeypatch):
    script = serve(monkeypatch)
    monkeypatch.setattr(share_cli, "_is_terminal", lambda: True)
    result = CliRunner().invoke(
        cli.app, ["submit", "r.yaml", "Rex.png", "--mask", "mask.png"], input="n\n"
    )
    assert result.exit_code == 1
    assert "Send this to" in result.stderr
    assert "objective “a secret objective”" in " ".join(result.stderr.split())
    assert script.requests == []
    assert Ledger().entries() == []


def test_new_begins_another_run(files, monkeypatch):
    script = serve(monkeypatch, told(run_status(), 201), told(run_status(), 201))
    for _ in range(2):
        run("submit", "r.yaml", "Rex.png", "--mask", "mask.png", "--yes", "--new")
    first, second = (request.headers["Idempotency-Key"] for request in script.requests)
    assert first != second


def test_words_alone_without_photos(files, monkeypatch):
    script = serve(monkeypatch, told(run_status(), 201))
    text = (files / "r.yaml").read_text().replace("target: L2", "target: L0")
    (files / "words.yaml").write_text(text)
    assert run("submit", "words.yaml", "--yes").exit_code == 0
    assert b"PNG" not in script.requests[0].content


@pytest.mark.parametrize("command", ["status", "watch", "cancel", "delete", "fetch"])
def test_no_key(monkeypatch, command):
    monkeypatch.delenv("SPINML_API_KEY")
    result = run(command, RUN, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "authentication_failed"


def test_key_file(tmp_path, monkeypatch):
    monkeypatch.delenv("SPINML_API_KEY")
    (tmp_path / "key").write_text("from a file\n")
    script = serve(monkeypatch, told(run_status()))
    assert run("status", RUN, "--key-file", "key").exit_code == 0
    assert script.requests[0].headers["Authorization"] == "Bearer from a file"


def test_a_failed_run_is_exit_code_1(monkeypatch):
    error = {"code": "generation_failed", "message": "too many broken", "remedy": "more steps"}
    serve(
        monkeypatch,
        told(run_status("running")),
        events(("1", "state", {"state": "failed"})),
        told(run_status("failed", error=error)),
    )
    result = run("watch", RUN)
    assert result.exit_code == 1
    assert "too many broken" in result.stderr


def test_status_says_how_far_each_stage_is(monkeypatch):
    waits = stage(0, "waiting")["stage"] | {"label": "generate", "total": 0, "unit": ""}
    serve(monkeypatch, told(run_status("running", stages=[stage(4)["stage"], waits])))
    lines = run("status", RUN).stderr.splitlines()
    assert lines == ["  fine-tune target: running 4/10 steps", "  generate: waiting"]


def test_brackets_are_no_markup(tmp_path, monkeypatch):
    monkeypatch.setattr(People, "width", 200)
    error = {"code": "internal", "message": "in [/old] and [bold]", "remedy": "see [1]"}
    serve(monkeypatch, told(run_status("failed", error=error)))
    assert "in [/old] and [bold] (see [1])" in run("status", RUN).stderr
    bundle = sanitize(request_of("L0", "L0"), []).bundle
    Ledger().failed("http://[fd00::12]:8000", bundle, "not_found")
    assert "http://[fd00::12]:8000" in run("ledger").stderr
    brightness_classifier(tmp_path / "m.onnx", classes=("[/dark]", "[bright]"))
    (tmp_path / "photos" / "[bright]").mkdir(parents=True)
    (tmp_path / "photos" / "[bright]" / "1.png").write_bytes(encode_png(cat()))
    assert "[bright]" in run("evaluate", "m.onnx", "photos").stderr


def test_watch_as_json_lines(monkeypatch):
    serve(
        monkeypatch,
        events(("1", "stage", stage(1)), ("2", "state", {"state": "succeeded"})),
        told(run_status("succeeded")),
    )
    lines = [json.loads(line) for line in run("watch", RUN, "--json").stdout.splitlines()]
    assert lines[0]["stage"]["done"] == 1
    assert lines[-1]["state"] == "succeeded"


def test_fetch_some_and_unknown(tmp_path, monkeypatch):
    serve(monkeypatch, file(b"model"), file(b"npz"))
    result = run("fetch", RUN, "--what", "model", "--what", "embeddings", "--out", "out", "--json")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "model.onnx").read_bytes() == b"model"
    assert (tmp_path / "out" / "embeddings.npz").read_bytes() == b"npz"
    assert "dataset" in run("fetch", RUN, "--what", "photos").stderr


def test_fetch_to_a_place_that_cannot_be_written(tmp_path, monkeypatch):
    serve(monkeypatch, file(b"model"))
    (tmp_path / "out").write_text("a file")
    result = run("fetch", RUN, "--what", "model", "--out", "out", "--json")
    assert json.loads(result.stdout)["error"]["code"] == "device_error"


def test_cancel_and_delete(monkeypatch):
    serve(monkeypatch, told({}), told(run_status("cancelled")), httpx.Response(204))
    assert json.loads(run("cancel", RUN, "--json").stdout)["state"] == "cancelled"
    assert json.loads(run("delete", RUN, "--json").stdout) == {"deleted": RUN}


def test_predict_and_evaluate(tmp_path):
    brightness_classifier(tmp_path / "m.onnx")
    for name, level in (("dark", 0), ("bright", 255)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        path = tmp_path / "photos" / name / "1.png"
        path.write_bytes(encode_png(np.full((9, 9, 3), level, np.uint8)))
    result = run("predict", "m.onnx", "photos/dark/1.png", "--json")
    assert json.loads(result.stdout)["label"] == "dark"
    assert "dark\t" in run("predict", "m.onnx", "photos/dark/1.png").stdout
    assert json.loads(run("evaluate", "m.onnx", "photos", "--json").stdout)["accuracy"] == 1.0
    assert "accuracy 100.0%" in run("evaluate", "m.onnx", "photos").stdout


def test_ledger(files, monkeypatch):
    serve(monkeypatch, told(run_status(), 201))
    run("submit", "r.yaml", "Rex.png", "--mask", "mask.png", "--yes")
    told_ = json.loads(run("ledger", "--json", "--verify").stdout)
    assert told_["head"] == told_["entries"][-1]["hash"]
    assert "the chain is whole: 2 entries" in run("ledger", "--verify").stdout
    path = files / "ledger.jsonl"
    path.write_text(path.read_text().replace('"images":1', '"images":0'))
    assert "line 1 was changed" in " ".join(run("ledger", "--verify").stderr.split())


def test_real_photos_go_through(tmp_path, files):
    """Real photographs, one of them a rotated 12-megapixel JPEG with a place in its EXIF."""
    portrait = Image.fromarray(real_photos()["astronaut"]).resize((4000, 3000))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[1] = "N"
    portrait.save(tmp_path / "portrait.jpg", exif=exif, icc_profile=b"profile of a camera")
    Image.fromarray(ellipse(3000, 4000, (800, 900))).save(tmp_path / "pm.png")
    Image.fromarray(real_photos()["coffee"]).save(tmp_path / "coffee.jpg")
    Image.fromarray(ellipse(600, 400, (90, 120))).save(tmp_path / "cm.png")
    result = run(
        "preview", "r.yaml", "portrait.jpg", "coffee.jpg", "Rex.png",
        "--mask", "pm.png", "--mask", "cm.png", "--mask", "mask.png", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["segments"][0]["images"] == 3
    page = (tmp_path / "preview.html").read_bytes()
    assert b"profile of a camera" not in page
    with Image.open(io.BytesIO((tmp_path / "preview.png").read_bytes())) as sheet:
        assert not sheet.info


@pytest.fixture
def two(files):
    """A request for two objects and a mixture; masks of the left and the right half's ellipse."""
    request = {
        "target_objects": ["dog", "pill bottle"],
        "background": "bedroom",
        "training_objective": "a secret objective",
        "label_classes": ["eating", "sleeping"],
        "privacy": {"dog": "L2", "pill bottle": "L1"},
        "mixture": [{"dog": "L0"}],
    }
    (files / "two.yaml").write_text(yaml.safe_dump(request))
    for name, mask in left_and_right().items():
        (files / f"{name}.png").write_bytes(encode_png(mask.astype(np.uint8) * 255))
    return files


def masks_of(*names):
    return [word for name in names for word in ("--mask", f"{name}.png")]


def test_masks_of_several_objects_stand_photo_by_photo(two):
    photos = ["Rex.png"] * 3
    masks = masks_of("target", "target_2", "none", "target_2", "none", "none")
    result = run("preview", "two.yaml", *photos, *masks, "--json")
    assert result.exit_code == 0, result.output
    told_ = json.loads(result.stdout)
    sent = [(item["name"], item["scheme"], item["images"]) for item in told_["segments"]]
    assert sent == [("target", "L2", 1), ("target_2", "L1", 2), ("background", "L0", 0)]
    assert set(told_["mi"]) == {"target", "target_2", "background", "photos"}
    assert told_["skipped"] == [{"photo": 3, "reason": "no dog or pill bottle was found on it"}]
    page = (two / told_["page"]).read_text()
    assert "dog L2, pill bottle L1, background L0 and dog L0" in page
    assert page.count("not from this photo") == 1  # the dog is not on the second photo


@pytest.mark.parametrize(
    ("masks", "code", "why"),
    [
        (["target"], "photo_error", "1 mask file(s) for 1 photo(s) of 2 target objects"),
        (["target", "small"], "photo_error", "mask 2 has"),
        (["target", "none"], "no_target_found", "pill bottle: to be shared, and on none of 1"),
        (["none", "none"], "no_target_found", "no dog or pill bottle was found"),
    ],
)
def test_an_object_that_is_missing_sends_nothing(two, monkeypatch, masks, code, why):
    (two / "small.png").write_bytes(encode_png(np.ones((10, 10), np.uint8)))
    script = serve(monkeypatch)
    result = run("submit", "two.yaml", "Rex.png", *masks_of(*masks), "--yes", "--json")
    error = json.loads(result.stdout)["error"]
    assert (result.exit_code, error["code"]) == (1, code)
    assert why in error["message"]
    assert not script.requests
    assert not (two / "ledger.jsonl").exists()


def test_the_ledger_tells_of_every_object_and_scheme(two, monkeypatch):
    serve(monkeypatch, told(run_status(), 201))
    request = yaml.safe_load((two / "two.yaml").read_text())
    request |= {"mixture": [{"dog": "L1"}], "noise": {"dog": 10}}
    (two / "mixed.yaml").write_text(yaml.safe_dump(request))
    run("submit", "mixed.yaml", "Rex.png", *masks_of("target", "target_2"), "--yes")
    sending, _ = Ledger().entries()
    assert [(item.name, item.how, item.images) for item in sending.segments] == [
        ("target", "L1 (canny)", 1),
        ("target", "L2 (noise σ 10)", 1),
        ("target_2", "L1 (canny)", 1),
        ("background", "L0", 0),
    ]
    assert Ledger().verify() == Ledger().entries()[-1].hash


def test_similarity_has_a_column_for_each_object(two):
    colour_embedder(two / "e.onnx")
    np.savez(
        two / "run.npz", target=np.eye(3), target_2=np.eye(3), background=np.eye(3), index=range(3)
    )
    options = ["--embeddings", "run.npz", "--embedder", "e.onnx"]
    shown = run("similarity", "two.yaml", "Rex.png", *options, *masks_of("target", "target_2"))
    assert shown.stdout.splitlines()[0] == "figure\ttarget\ttarget_2\tbackground"
    assert all(line.count("\t") == 3 for line in shown.stdout.splitlines())
    np.savez(two / "old.npz", target=np.eye(3), background=np.eye(3), index=range(3))
    options[1] = "old.npz"
    refused = run("similarity", "two.yaml", "Rex.png", *options, *masks_of("target", "target_2"))
    assert "lack target_2" in refused.stderr
