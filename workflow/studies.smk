"""The jobs of a study's rows: what scripts/study.py has planned, by the pipeline's own programs.

INPUTS   results/studies/{study}/plan.json, params/{job}.yaml; data/ where a row has the data of params.yaml
         data/studies/{source}/params.yaml, data/studies/{data}/params.yaml     the same file for every study
OUTPUTS  data/studies/{source}/raw/, index/           zips of other sources, and their indexes
         data/studies/{data}/thumbnails/              stores of other sizes or sources
         results/studies/{study}/weights/, trainings/, embeddings/, scores/, browse/

A job bears the name of the parameters that decide about it (reid.studies.rows), so each is made once.
"""

from reid.core.splits import SPLITS
from reid.engines import outside, studies
from reid.engines import workflow as engine
from reid.page.parts import NAMES

JOBS = studies.jobs(workflow, config)
FOLDER = JOBS["folder"]
GPU = 1 if JOBS["on_gpu"] else 0


wildcard_constraints:
    split=engine.names(SPLITS),
    source=engine.names(JOBS["sources"]),
    data=engine.names(JOBS["data"]),
    weights=engine.names(JOBS["weights"]),
    training=engine.names(JOBS["trainings"]),
    embedding=engine.names(JOBS["embeddings"]),
    score=engine.names(JOBS["scores"]),


def source_of(data, file):
    return f"{JOBS['data'][data]['source']}/{file}"


def data_of(training, split):
    """Index and store of one split, as a training and its embeddings read them."""
    data = JOBS["trainings"][training]["data"]
    return [
        source_of(data, f"index/{split}.parquet"),
        f"{JOBS['data'][data]['root']}/thumbnails/{split}.npy",
    ]


def training_of(embedding):
    return JOBS["embeddings"][embedding]["training"]


def index_of(score, split):
    return data_of(training_of(JOBS["scores"][score]["embedding"]), split)[0]


def threads_of(kind, job):
    """Of a training or an embedding: the model's own on a CPU, its share of the cores beside a GPU."""
    return engine.share(workflow) if GPU else JOBS[kind][job]["threads"]


rule study:
    """All scores of a study, as far as its rows are known."""
    default_target: True
    input:
        expand(
            f"{FOLDER}/scores/{{score}}/{{split}}/queries.parquet",
            score=JOBS["scores"],
            split=JOBS["scored"],
        ),
        expand(f"{FOLDER}/browse/{{score}}/valid.html", score=JOBS["galleries"]),


rule download:
    """The zip of one split, from another source than that of params.yaml."""
    input:
        code=engine.code("download", "core", "raw", "params", "sources", "synthetic"),
    output:
        zip="data/studies/{source}/raw/{split}.zip",
        receipt="data/studies/{source}/raw/{split}.json",
    log:
        f"{FOLDER}/logs/download/{{source}}/{{split}}.log",
    localrule: True
    threads: engine.THREADS
    params:
        section=lambda wildcards: JOBS["sources"][wildcards.source]["section"],
        file=lambda wildcards: JOBS["sources"][wildcards.source]["params"],
        outside=lambda wildcards: engine.content(
            outside.download,
            studies.params(JOBS["sources"][wildcards.source]["params"]),
            wildcards.split,
        ),
    shell:
        "python scripts/download.py --split {wildcards.split:q} --out {output.zip:q} --receipt {output.receipt:q}"
        " --params {params.file:q} --threads {threads} --log {log:q}"


rule index:
    """The Parquet index of one split, from its zip's directory, every name checked."""
    input:
        code=engine.code("index", "core", "raw", "data"),
        zip=rules.download.output.zip,
        receipt=rules.download.output.receipt,
    output:
        "data/studies/{source}/index/{split}.parquet",
    log:
        f"{FOLDER}/logs/index/{{source}}/{{split}}.log",
    group:
        "data"
    resources:
        runtime=20,
        mem_mb=2000,
    shell:
        "python scripts/index.py --split {wildcards.split:q} --zip {input.zip:q} --receipt {input.receipt:q}"
        " --out {output:q} --log {log:q}"


rule thumbnails:
    """All images of one split, decoded and resized once."""
    input:
        code=engine.code("thumbnails", "core", "raw", "data", "params"),
        zip=lambda wildcards: source_of(wildcards.data, f"raw/{wildcards.split}.zip"),
        index=lambda wildcards: source_of(
            wildcards.data, f"index/{wildcards.split}.parquet"
        ),
    output:
        "data/studies/{data}/thumbnails/{split}.npy",
    log:
        f"{FOLDER}/logs/thumbnails/{{data}}/{{split}}.log",
    group:
        "data"
    threads: engine.THREADS
    resources:
        runtime=120,
        mem_mb=4000,
    params:
        section=lambda wildcards: JOBS["data"][wildcards.data]["section"],
        file=lambda wildcards: JOBS["data"][wildcards.data]["params"],
    shell:
        "python scripts/thumbnails.py --zip {input.zip:q} --index {input.index:q} --out {output:q}"
        " --params {params.file:q} --threads {threads} --log {log:q}"


rule weights:
    """Pretrained weights of one network, by name or from a file, as far as they fit."""
    input:
        code=engine.code("weights", "core", "params", "models", extended=True),
    output:
        f"{FOLDER}/weights/{{weights}}.safetensors",
    log:
        f"{FOLDER}/logs/weights/{{weights}}.log",
    localrule: True
    params:
        section=lambda wildcards: JOBS["weights"][wildcards.weights]["section"],
        file=lambda wildcards: JOBS["weights"][wildcards.weights]["params"],
        model=lambda wildcards: JOBS["weights"][wildcards.weights]["model"],
        outside=lambda wildcards: engine.content(
            outside.weights,
            studies.params(JOBS["weights"][wildcards.weights]["params"]),
            JOBS["weights"][wildcards.weights]["model"],
        ),
    shell:
        "python scripts/weights.py --model {params.model:q} --out {output:q} --params {params.file:q} --log {log:q}"


rule train:
    """One training: a row with one seed."""
    input:
        code=engine.code(
            "train",
            "core",
            "raw",
            "data",
            "params",
            "retrieval",
            "models",
            "training",
            extended=True,
        ),
        init=lambda wildcards: f"{FOLDER}/weights/{JOBS['trainings'][wildcards.training]['weights']}.safetensors",
        index=lambda wildcards: [
            data_of(wildcards.training, split)[0]
            for split in JOBS["trainings"][wildcards.training]["trained_on"]
        ],
        thumbnails=lambda wildcards: [
            data_of(wildcards.training, split)[1]
            for split in JOBS["trainings"][wildcards.training]["trained_on"]
        ],
        validation=lambda wildcards: (
            data_of(wildcards.training, "valid")
            if JOBS["trainings"][wildcards.training]["validated"]
            else []
        ),
    output:
        checkpoint=f"{FOLDER}/trainings/{{training}}/model.safetensors",
        last=f"{FOLDER}/trainings/{{training}}/last.safetensors",
        summary=f"{FOLDER}/trainings/{{training}}/summary.json",
        loss=f"{FOLDER}/trainings/{{training}}/curves/loss.tsv",
        valid=f"{FOLDER}/trainings/{{training}}/curves/valid_mAP.tsv",
        averaged=f"{FOLDER}/trainings/{{training}}/curves/valid_mAP_averaged.tsv",
    log:
        f"{FOLDER}/logs/train/{{training}}.log",
    threads: lambda wildcards: threads_of("trainings", wildcards.training)
    resources:
        runtime=2880,
        mem_mb=16000,
        gpu=lambda wildcards: GPU * JOBS["trainings"][wildcards.training]["devices"],
    params:
        section=lambda wildcards: JOBS["trainings"][wildcards.training]["section"],
        splits=lambda wildcards: JOBS["trainings"][wildcards.training]["splits"],
        file=lambda wildcards: JOBS["trainings"][wildcards.training]["params"],
        model=lambda wildcards: JOBS["trainings"][wildcards.training]["model"],
        folder=lambda wildcards: f"{FOLDER}/trainings/{wildcards.training}",
    shell:
        "set -- {input.validation:q};"
        " python scripts/train.py --model {params.model:q} --index {input.index:q} --thumbnails {input.thumbnails:q}"
        ' ${{1:+--validation "$@"}} --init {input.init:q}'
        " --out {output.checkpoint:q} --last {output.last:q} --summary {output.summary:q}"
        " --curves {params.folder:q}/curves --speed {params.folder:q}/speed --params {params.file:q} --log {log:q}"


rule embed:
    """Embed one split with one training."""
    input:
        code=engine.code(
            "embed",
            "core",
            "raw",
            "data",
            "params",
            "retrieval",
            "models",
            extended=True,
        ),
        checkpoint=lambda wildcards: f"{FOLDER}/trainings/{training_of(wildcards.embedding)}/model.safetensors",
        thumbnails=lambda wildcards: data_of(
            training_of(wildcards.embedding), wildcards.split
        )[1],
    output:
        f"{FOLDER}/embeddings/{{embedding}}/{{split}}.npy",
    log:
        f"{FOLDER}/logs/embed/{{embedding}}/{{split}}.log",
    threads: lambda wildcards: threads_of("embeddings", wildcards.embedding)
    resources:
        runtime=240,
        mem_mb=8000,
        gpu=GPU,
    params:
        section=lambda wildcards: JOBS["embeddings"][wildcards.embedding]["section"],
        file=lambda wildcards: JOBS["embeddings"][wildcards.embedding]["params"],
    shell:
        "python scripts/embed.py --checkpoint {input.checkpoint:q} --thumbnails {input.thumbnails:q}"
        " --out {output:q} --params {params.file:q} --log {log:q}"


rule distances:
    """Distances between each query and the gallery boxes of its action."""
    input:
        code=engine.code(
            "distances",
            "core",
            "raw",
            "data",
            "params",
            "retrieval",
            "ranking",
            extended=True,
        ),
        index=lambda wildcards: index_of(wildcards.score, wildcards.split),
        embeddings=lambda wildcards: f"{FOLDER}/embeddings/{JOBS['scores'][wildcards.score]['embedding']}/{wildcards.split}.npy",
    output:
        f"{FOLDER}/scores/{{score}}/{{split}}/distances.parquet",
    log:
        f"{FOLDER}/logs/distances/{{score}}/{{split}}.log",
    resources:
        runtime=60,
        mem_mb=4000,
    params:
        section=lambda wildcards: JOBS["scores"][wildcards.score]["distances"],
        file=lambda wildcards: JOBS["scores"][wildcards.score]["params"],
    shell:
        "python scripts/distances.py --index {input.index:q} --embeddings {input.embeddings:q} --out {output:q}"
        " --params {params.file:q} --log {log:q}"


rule evaluate:
    """Scores of one split, and every query's own."""
    input:
        code=engine.code(
            "evaluate",
            "core",
            "raw",
            "data",
            "params",
            "retrieval",
            "ranking",
            "evaluation",
        ),
        index=lambda wildcards: index_of(wildcards.score, wildcards.split),
        distances=rules.distances.output,
    output:
        metrics=f"{FOLDER}/scores/{{score}}/{{split}}/metrics.json",
        queries=f"{FOLDER}/scores/{{score}}/{{split}}/queries.parquet",
        cmc=f"{FOLDER}/scores/{{score}}/{{split}}/cmc.csv",
    log:
        f"{FOLDER}/logs/evaluate/{{score}}/{{split}}.log",
    resources:
        runtime=30,
        mem_mb=4000,
    params:
        section=lambda wildcards: JOBS["scores"][wildcards.score]["evaluate"],
        file=lambda wildcards: JOBS["scores"][wildcards.score]["params"],
    shell:
        "python scripts/evaluate.py --index {input.index:q} --distances {input.distances:q} --out {output.metrics:q}"
        " --queries {output.queries:q} --cmc {output.cmc:q} --params {params.file:q} --log {log:q}"


rule browse:
    """A page of one row's rankings that opens from disk."""
    input:
        code=engine.code(
            "browse",
            "core",
            "raw",
            "data",
            "params",
            "retrieval",
            "ranking",
            "evaluation",
            "page",
        ),
        data=lambda wildcards: data_of(
            training_of(JOBS["scores"][wildcards.score]["embedding"]), wildcards.split
        ),
        distances=rules.distances.output,
    output:
        page=f"{FOLDER}/browse/{{score}}/{{split}}.html",
        parts=expand(
            f"{FOLDER}/browse/{{{{score}}}}/{{{{split}}}}/{{part}}", part=NAMES
        ),
    log:
        f"{FOLDER}/logs/browse/{{score}}/{{split}}.log",
    threads: engine.THREADS
    resources:
        runtime=60,
        mem_mb=4000,
    params:
        file=lambda wildcards: JOBS["scores"][wildcards.score]["params"],
    shell:
        "python scripts/browse.py --index {input.data[0]:q} --thumbnails {input.data[1]:q}"
        " --distances {input.distances:q} --out {output.page:q} --params {params.file:q} --threads {threads}"
        " --log {log:q}"


engine.mend_dates(workflow)


onstart:
    studies.begin(workflow)
