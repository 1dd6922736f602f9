"""Dockerfile and apptainer.def make the same environment, of files that are there; both are read, neither is built."""

import re
import shlex
import subprocess

from builders import ROOT

DOCKER = (ROOT / "Dockerfile").read_text(encoding="utf-8")
APPTAINER = (ROOT / "apptainer.def").read_text(encoding="utf-8")
TOGETHER = "/opt/soccernet-reid/"


def instructions():
    """(name, words) of each instruction of the Dockerfile."""
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", DOCKER)).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line.strip())]


def sections():
    """Lines of each section of the definition, without comments; those before the first are its header."""
    parts = re.split(r"(?m)^%(\w+).*\n", re.sub(r"(?m)^#.*\n", "", APPTAINER))
    named = dict(zip(["header", *parts[1::2]], parts[::2], strict=True))
    return {name: [line.strip() for line in text.splitlines() if line.strip()] for name, text in named.items()}


def packages(command):
    words = shlex.split(re.search(r"apt-get install ([^&\n]*)", command)[1])
    return {word for word in words if not word.startswith("-")}


def of(name):
    return [rest for found, rest in instructions() if found == name]


def test_instructions_are_known_and_begin_with_the_base():
    names = [name for name, _ in instructions()]
    assert names[0] == "FROM" and set(names) == {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "CMD"}


def test_both_copy_the_same_files_which_are_there_and_no_ignored_ones():
    *sources, target = of("COPY")[0].split()
    assert target == TOGETHER and len(of("COPY")) == 1
    copied = {tuple(line.split()) for line in sections()["files"]}
    assert copied == {(source, TOGETHER + source.rpartition("/")[2]) for source in sources}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == set(sources) and "*" in ignored
    listed = subprocess.run(["git", "ls-files", "--", *sources], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(listed.stdout.split()) == set(sources)


def test_both_begin_from_the_same_image_and_packages_and_run_the_same_script():
    base = of("FROM")[0]
    assert f"From: {base}" in sections()["header"] and base.startswith("python:3.11-slim-")
    post = "\n".join(sections()["post"])
    assert packages(of("RUN")[0]) == packages(post) == {"gcc", "git", "libc6-dev", "make"}
    assert of("RUN")[1] == f"sh {TOGETHER}container.sh" == sections()["post"][-1]


def test_the_script_installs_by_hash_what_is_copied_beside_it():
    script = (ROOT / "envs/container.sh").read_text(encoding="utf-8")
    subprocess.run(["sh", "-n", ROOT / "envs/container.sh"], check=True)
    lists = set(re.findall(r"-r (\S+)", script))
    assert lists == {"bootstrap.txt", "requirements.txt"} and script.count("--require-hashes") == 2
    assert {f"envs/{name}" for name in lists} < set(of("COPY")[0].split())


def test_the_token_of_the_download_reaches_dockers_container():
    for name in ("Dockerfile", "docs/team.md"):
        commands = re.findall(r"docker run .*", (ROOT / name).read_text(encoding="utf-8"))
        assert commands and all(" -e HF_TOKEN " in command for command in commands), name


def test_what_is_run_is_a_command_of_the_pipeline():
    assert of("CMD") == ['["snakemake", "--cores", "8", "submission"]']
    commands = (ROOT / "docs/team.md").read_text(encoding="utf-8")
    for text in (DOCKER, APPTAINER):
        for command in re.findall(r"(?m)^#   ((?:docker|apptainer) .*(?:\\\n#.*)?)", text):
            assert re.sub(r"\\\n#\s*", r"\\\n  ", command) in commands, command
