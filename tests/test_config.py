"""pipeline.yaml: what is accepted, what is refused, and how errors point at the place."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorawm_pipeline.config import (
    PROFILES,
    DetectConfig,
    EncodeConfig,
    PipelineConfig,
    default_yaml,
)
from sorawm_pipeline.config_keys import OLDER_NAMES, keys
from sorawm_pipeline.errors import ConfigError

ROOT = Path(__file__).parents[1]


def load(text: str, *overrides: str) -> PipelineConfig:
    return PipelineConfig.load_yaml(text, "p.yaml", overrides)


def errors(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, *overrides)
    return caught.value.message.splitlines()


# the default file


def test_default_yaml_gives_the_defaults() -> None:
    assert load(default_yaml()) == PipelineConfig()


def test_pipeline_yaml_at_the_root_is_the_default() -> None:
    assert (ROOT / "pipeline.yaml").read_text("utf-8") == default_yaml()


def test_default_yaml_shows_every_key_with_its_default() -> None:
    text = re.sub(r"^(\s*)#(?=[a-z_]+:)", r"\1", default_yaml(), flags=re.MULTILINE)
    shown = yaml.safe_load(text)
    defaults = PipelineConfig().model_dump(mode="json")
    assert shown == defaults


def test_default_yaml_leaves_the_keys_of_profiles_to_the_profile() -> None:
    for profile in PROFILES:
        text = default_yaml().replace("profile: balanced", f"profile: {profile}")
        assert load(text) == PipelineConfig(profile=profile)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "{}", "detect:\nencode:\n"])
def test_an_empty_file_or_section_means_defaults(text: str) -> None:
    assert load(text) == PipelineConfig()


def test_empty_inner_section_means_defaults() -> None:
    assert load("decode: {limits: }") == PipelineConfig()


# values


def test_values_of_every_kind() -> None:
    config = load(
        """
        device: cuda:1
        input: {paths: [a.mp4, "b c"]}
        memory: {budget: 4GiB}
        detect: {weights: w.pt, confidence: 1e-1, batch: 8}
        decode: {limits: {formats: [mp4], max_seconds: 10}}
        """
    )
    assert config.device == "cuda:1"
    assert config.input.paths == (Path("a.mp4"), Path("b c"))
    assert config.memory.budget == 4 << 30
    assert config.detect.weights == Path("w.pt")
    assert config.detect.confidence == 0.1
    assert config.detect.batch == 8
    assert config.decode.limits.formats == ("mp4",)


@pytest.mark.parametrize(
    ("text", "number"),
    [("123", 123), ('"2GB"', 2 * 10**9), ("512M", 512 * 10**6), ("1.5 KiB", 1536), ("7b", 7)],
)
def test_memory_budget_units(text: str, number: int) -> None:
    assert load(f"memory: {{budget: {text}}}").memory.budget == number


@pytest.mark.parametrize(
    ("quality", "crf", "bitrate"),
    [
        ("auto", None, None),
        ("crf:0", 0.0, None),
        ("crf:22.5", 22.5, None),
        ("bitrate:5000000", None, 5_000_000),
        ("bitrate:800k", None, 800_000),
        ("bitrate:5M", None, 5_000_000),
    ],
)
def test_quality(quality: str, crf: float | None, bitrate: int | None) -> None:
    encode = EncodeConfig(quality=quality)
    assert (encode.crf, encode.bitrate) == (crf, bitrate)


def test_the_home_of_nobody_known() -> None:
    (line,) = errors("output: {folder: ~no-such-user/out}")
    assert line == 'p.yaml:1:18: output.folder: expected a folder, found "~no-such-user/out"'


def test_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert load("output: {folder: ~/out}").output.folder == Path("/home/someone/out")


@pytest.mark.parametrize(
    ("yaml_text", "line"),
    [
        # YAML 1.1 would make a bool, a sexagesimal number, an octal number and a date of these
        ("output: {overwrite: yes}", 'output.overwrite: expected true or false, found "yes"'),
        ("output: {overwrite: 1}", "output.overwrite: expected true or false, found 1"),
        (
            "queues: {capacity: 1:30}",
            'queues.capacity: expected frames per queue, a whole number 1 to 256, found "1:30"',
        ),
        (
            "detect: {batch: true}",
            'detect.batch: expected "auto" or a whole number from 1 to 1024, found true',
        ),
        (
            "detect: {batch: 0}",
            'detect.batch: expected "auto" or a whole number from 1 to 1024, found 0',
        ),
        (
            "detect: {confidence: .nan}",
            "detect.confidence: expected a number from 0 to 1, or null, found nan",
        ),
        (
            "detect: {confidence: '0.5'}",
            'detect.confidence: expected a number from 0 to 1, or null, found "0.5"',
        ),
        (
            "encode: {preset: }",
            "encode.preset: expected a speed from ultrafast to veryslow as in x264, found null",
        ),
        (
            "detect: {image_size: 33}",
            "detect.image_size: expected pixels, a multiple of 32 from 64 to 4096, or null, "
            "found 33",
        ),
        (
            "temporal: {window: 2.5}",
            "temporal.window: expected frames ahead, a whole number from 0 to 240, found 2.5",
        ),
        ("device: gpu", 'device: expected "auto", "cpu" or "cuda[:n]", found "gpu"'),
        (
            "encode: {codec: H264}",
            'encode.codec: expected "source", "h264", "hevc", "av1", "vp9" or "ffv1", found "H264"',
        ),
        ("detect: 5", "detect: expected a mapping of keys, found 5"),
        ("detect: [1]", "detect: expected a mapping of keys, found a list"),
        (
            "input: {paths: [a, 3]}",
            "input.paths: expected a list of files and folders, found 3 in it",
        ),
        (
            r'output: {folder: "a\0b"}',
            'output.folder: expected a folder, found "a\\x00b"',
        ),
        (
            "profile: [x]",
            'profile: expected "performance", "balanced", "quality" or "compat", found a list',
        ),
        (
            "provenance: {key: k.pem}",
            "provenance: certificate and key go together: give both or neither",
        ),
    ],
)
def test_a_wrong_value_names_key_expectation_and_finding(yaml_text: str, line: str) -> None:
    (only,) = errors(yaml_text)
    assert re.fullmatch(r"p\.yaml:1:\d+: ", only.removesuffix(line))


def test_all_errors_are_listed_with_line_and_column() -> None:
    text = "detect:\n  confidence: high\nencode:\n  quality: best\n  presett: fast\n"
    assert [line.split(": ")[:2] for line in errors(text)] == [
        ["p.yaml:2:15", "detect.confidence"],
        ["p.yaml:4:12", "encode.quality"],
        ["p.yaml:5:3", "encode.presett"],
    ]


@pytest.mark.parametrize(
    "bad", ["crf:64", "crf:-1", "crf:", "bitrate:0", "bitrate:5G", "18", "crf: 18"]
)
def test_bad_quality(bad: str) -> None:
    assert "encode.quality: expected" in errors(f"encode: {{quality: '{bad}'}}")[0]


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("detct: {}", "detect"),
        ("detect: {bach: 1}", "detect.batch"),
        ("decode: {limits: {max_pixel: 1}}", "decode.limits.max_pixels"),
        ("confidence: 0.5", "detect.confidence"),
        ("inpaint: {codec: h264}", "encode.codec"),
        ("BATCH_SIZE: 8", "detect.batch"),
        ("ENCODING_PRESET: slow", "encode.preset"),
    ],
)
def test_an_unknown_key_gets_a_suggestion(text: str, suggestion: str) -> None:
    (line,) = errors(text)
    assert line.endswith(f'unknown key; did you mean "{suggestion}"?')


def test_an_unknown_key_like_none_gets_the_list() -> None:
    (line,) = errors("log: {qqqq: 1}")
    assert line == "p.yaml:1:7: log.qqqq: unknown key; known here: level, format"


def test_tables_name_keys_that_exist() -> None:
    known = set(keys(PipelineConfig))
    assert known >= set(OLDER_NAMES.values())
    assert known >= {key for profile in PROFILES.values() for key in profile}


def test_weights_are_pinned_and_pickles_allowed_only_in_so_many_words() -> None:
    config = load(f"detect: {{weights: w.pt, sha256: {'aB' * 32}, allow_pickle: true}}")
    assert config.detect.sha256 == "aB" * 32
    assert config.detect.allow_pickle
    assert not load("").detect.allow_pickle
    (line,) = errors("detect: {sha256: abc}")
    assert line == (
        'p.yaml:1:18: detect.sha256: expected 64 hexadecimal digits, or null, found "abc"'
    )
    for value in ("1", '"yes"', "null"):
        (line,) = errors(f"detect: {{allow_pickle: {value}}}")
        assert "detect.allow_pickle: expected true or false" in line


# profiles


def test_a_profile_sets_its_keys() -> None:
    config = load("profile: compat")
    assert (config.device, config.detect.batch, config.encode.codec) == ("cpu", 1, "h264")


def test_explicit_keys_win_over_the_profile_even_at_their_default() -> None:
    config = load("profile: compat\nencode: {codec: source}", "detect.batch=auto")
    assert config.encode.codec == "source"
    assert config.detect.batch == "auto"
    assert config.inpaint.batch == PROFILES["compat"]["inpaint.batch"]


def test_the_profile_can_come_from_an_override() -> None:
    assert load("profile: quality", "profile=compat") == PipelineConfig(profile="compat")


def test_sections_built_in_python_win_over_the_profile() -> None:
    config = PipelineConfig(profile="compat", detect=DetectConfig(batch=6))
    assert config.detect.batch == 6
    assert config.inpaint.batch == 1


def test_every_profile_is_valid() -> None:
    for profile in PROFILES:
        assert PipelineConfig(profile=profile).profile == profile  # type: ignore[arg-type]


# --set


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("detect.confidence=0.5", {"detect": {"confidence": 0.5}}),
        ("decode.limits.max_pixels=100", {"decode": {"limits": {"max_pixels": 100}}}),
        ("input.paths=[a, b]", {"input": {"paths": (Path("a"), Path("b"))}}),
        ("input.paths=a: b", {"input": {"paths": (Path("a: b"),)}}),
        ("output.folder='1'", {"output": {"folder": Path("1")}}),
        ("detect={batch: 3}", {"detect": {"batch": 3}}),
        ("encode.quality=crf:18", {"encode": {"quality": "crf:18"}}),
        ("memory.budget=", {}),
    ],
)
def test_override(override: str, expected: dict[str, Any]) -> None:
    assert load("", override).model_dump(exclude_defaults=True) == expected


def test_an_override_wins_and_keeps_its_neighbours() -> None:
    config = load("detect: {batch: 2, confidence: 0.9}", "detect.batch=3", "detect.batch=4")
    assert (config.detect.batch, config.detect.confidence) == (4, 0.9)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("detect", "--set detect: expected dotted.key=value"),
        ("=1", "--set =1: expected dotted.key=value"),
        ("a..b=1", "--set a..b=1: expected dotted.key=value"),
        ("device.x=1", "--set device.x=1: device holds a value, not keys"),
        (
            "detect.batch=x",
            '--set detect.batch=x: detect.batch: expected "auto" or a whole number from 1 to 1024, '
            'found "x"',
        ),
        (
            "detct.batch=1",
            '--set detct.batch=1: detct: unknown key; did you mean "detect"?',
        ),
        (
            "queues={x: 1}",
            "--set queues={x: 1}: queues.x: unknown key; known here: capacity",
        ),
    ],
)
def test_a_wrong_override_is_quoted(override: str, line: str) -> None:
    assert errors("device: cpu\ndetect: {batch: 2}", override) == [line]


# YAML that is not a configuration


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3", "p.yaml:3:1: a: duplicate key, already given on line 1"),
        (
            "detect:\n  batch: 1\n  batch: 2",
            "p.yaml:3:3: detect.batch: duplicate key, already given on line 2",
        ),
        ("- 1", "p.yaml:1:1: expected a mapping of keys, found a list"),
        ("hello", 'p.yaml:1:1: expected a mapping of keys, found "hello"'),
        ("detect:\n\tbatch: 1", "p.yaml:2:1: a tab in the indentation; YAML wants spaces"),
        ("---\n---\n", "p.yaml:2:1: a second document; one file holds one configuration"),
        (
            "device: &d cpu",
            "p.yaml:1:9: anchors (&name) are not supported; write the value out",
        ),
        ("device: *d", "p.yaml:1:9: aliases (*name) are not supported; write the value out"),
        (
            "device: !!python/name:os.system",
            "p.yaml:1:9: tags (tag:yaml.org,2002:python/name:os.system) are not supported",
        ),
        ("? [a]\n: 1", "p.yaml:1:3: expected a name as key"),
        ("a: " + "[" * 100_000, "p.yaml:1:19: nested more than 16 levels deep"),
        ("a: " + "x" * 5000, "p.yaml:1:4: a value longer than 4096 characters"),
        ("a: [" + "1," * 20_000, "p.yaml:1:20001: more than 10000 values"),
        ("a: [1", "p.yaml:2:1: did not find expected ',' or ']'"),
        ("a: b: c", "p.yaml:1:5: mapping values are not allowed in this context"),
        ("a: 1\nb: \x07", "p.yaml:2:4: control characters are not allowed"),
    ],
)
def test_refused_yaml(text: str, line: str) -> None:
    assert errors(text) == [line]


def test_a_number_longer_than_python_converts_is_text() -> None:
    (line,) = errors("", "queues.capacity=" + "9" * 5000)
    assert "queues.capacity: expected frames per queue" in line


def test_all_duplicates_are_listed() -> None:
    assert len(errors("a: 1\na: 2\nb: 1\nb: 2")) == 2


def test_an_alias_bomb_is_refused_at_its_first_anchor() -> None:
    bomb = "a: &a [x]\n" + "".join(
        f"{chr(c + 1)}: &{chr(c + 1)} [{', '.join([f'*{chr(c)}'] * 9)}]\n" for c in range(97, 107)
    )
    assert "anchors" in errors(bomb)[0]


# files


def file_error(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        PipelineConfig.from_yaml(path)
    return caught.value.message.removeprefix(str(path))


def test_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(b"\xef\xbb\xbfdevice: cpu\r\nlog: {level: debug}\r\n")
    assert PipelineConfig.from_yaml(path, ["log.format=json"]).model_dump(
        exclude_defaults=True
    ) == {"device": "cpu", "log": {"level": "debug", "format": "json"}}


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert file_error(tmp_path / "no.yaml") == ": cannot be read: No such file or directory"
    assert file_error(tmp_path) == ": cannot be read: Is a directory"


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(b"device: cpu\nx: \xe9\n")
    assert file_error(path) == ":2:4: expected UTF-8 text, found byte 0xe9"


def test_huge_and_endless_files(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(b"#" * ((1 << 20) + 1))
    assert file_error(path) == ": larger than 1 MiB; this is not a configuration"
    assert "larger than 1 MiB" in file_error(Path("/dev/zero"))


# laws


def test_the_configuration_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        PipelineConfig().detect.batch = 3


def test_the_constructor_raises_config_errors_too() -> None:
    with pytest.raises(ConfigError, match=r"^device: expected .* found \"tpu\"$"):
        PipelineConfig(device="tpu")


def test_import_is_light() -> None:
    code = (
        "import sys, sorawm_pipeline.config;"
        "print([m for m in ('torch', 'av', 'numpy', 'cv2', 'ultralytics') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# A machine shared with other work is slow at times; that is no failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = st.sampled_from(
    [part for key in keys(PipelineConfig) for part in key.split(".")] + ["x", "", "1", "~"]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(alphabet="aZ09_.:-/ \u00e9", max_size=8),
    st.dates(),
    st.sampled_from(["auto", "4GB", "crf:18", "cuda:0", "~", "~nobody-here/x", "a\0b", "\ud800"]),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


def only_config_or_error(text: str, *overrides: str) -> None:
    try:
        config = load(text, *overrides)
    except ConfigError as error:
        assert error.message  # noqa: PT017 - either outcome is right
    else:
        assert PipelineConfig.model_validate(config.model_dump()) == config


@patient
@given(st.dictionaries(NAMES, TREES, max_size=5))
def test_any_data_is_a_config_or_a_config_error(data: dict[str, Any]) -> None:
    only_config_or_error(yaml.safe_dump(data, allow_unicode=True))


@patient
@given(st.text(alphabet=st.sampled_from("ab:-[]{}#&*!|>'\"%@`?, \n\t\\0é\ud800\x00"), max_size=40))
def test_any_text_is_a_config_or_a_config_error(text: str) -> None:
    only_config_or_error(text)
    only_config_or_error("detect: {batch: 2}", text)


@patient
@given(st.sampled_from(keys(PipelineConfig)), LEAVES)
def test_any_override_is_a_config_or_a_config_error(key: str, value: object) -> None:
    only_config_or_error("", f"{key}={value}")
