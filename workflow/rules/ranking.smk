# Distances inside each action, their score, and the ranking to submit.
#
# INPUTS   data/index/{split}.parquet, results/embeddings/{model}/{split}.npy; params.yaml: distances, evaluate, train
# OUTPUTS  results/distances/{split}.parquet     one row per action: queries, gallery, distances
#          results/metrics/{split}.json          mAP, rank-k and chance level (valid, test)
#          results/queries/{split}.parquet       what is known of each query, and how it was ranked (valid, test)
#          results/plots/{kind}/{split}.csv      CMC curve, scores of slices, histogram of AP (valid, test)
#          results/submission/{split}.json       ranking JSON (test, challenge; valid by name)
#          results/submission/{split}.provenance.json     all that it was made of, and when and where


rule distances:
    """Distances between each query and the gallery boxes of its action, averaged over models."""
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
        index=rules.index.output,
        embeddings=expand(
            "results/embeddings/{model}/{{split}}.npy", model=PARAMS.fused()
        ),
    output:
        "results/distances/{split}.parquet",
    log:
        "logs/distances/{split}.log",
    conda:
        engine.ENVIRONMENT
    resources:
        runtime=60,
        mem_mb=4000,
    params:
        section=config["distances"],
    message:
        "{wildcards.split}: distances"
    shell:
        "python scripts/distances.py --index {input.index:q} --embeddings {input.embeddings:q} --out {output:q} --log {log:q}"


rule evaluate:
    """Scores of one labelled split with their intervals and chance level, and every query's own."""
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
        index=rules.index.output,
        distances=rules.distances.output,
    output:
        metrics=report(
            "results/metrics/{split}.json",
            caption="../report/metrics.rst",
            category="3. Scores",
            labels={"split": "{split}", "what": "scores (JSON)"},
        ),
        queries="results/queries/{split}.parquet",
        cmc="results/plots/cmc/{split}.csv",
        slices=report(
            "results/plots/slices/{split}.csv",
            caption="../report/slices.rst",
            category="3. Scores",
            labels={"split": "{split}", "what": "slices (CSV)"},
        ),
        ap="results/plots/ap/{split}.csv",
    log:
        "logs/evaluate/{split}.log",
    wildcard_constraints:
        split=engine.names(SCORED),
    conda:
        engine.ENVIRONMENT
    resources:
        runtime=30,
        mem_mb=4000,
    params:
        section=config["evaluate"],
        splits=config["train"],
    message:
        "{wildcards.split}: metrics"
    shell:
        "python scripts/evaluate.py --index {input.index:q} --distances {input.distances:q}"
        " --out {output.metrics:q} --queries {output.queries:q} --cmc {output.cmc:q} --slices {output.slices:q}"
        " --ap {output.ap:q} --log {log:q}"


rule rank:
    """The ranking JSON of one split, checked before it is there."""
    input:
        code=engine.code(
            "rank", "core", "raw", "data", "params", "retrieval", "ranking"
        ),
        index=rules.index.output,
        distances=rules.distances.output,
    output:
        "results/submission/{split}.json",
    log:
        "logs/rank/{split}.log",
    wildcard_constraints:
        split=engine.names(RANKED),
    localrule: True
    conda:
        engine.ENVIRONMENT
    message:
        "{wildcards.split}: ranking"
    shell:
        "python scripts/rank.py --index {input.index:q} --distances {input.distances:q} --out {output:q} --log {log:q}"


rule provenance:
    """What the ranking of one split was made of: commit, parameters, SHA-256 of every input, versions, machine."""
    input:
        code=engine.code("provenance", "core", "params", "lineage"),
        ranking=rules.rank.output,
        receipts=lambda wildcards: expand(
            "data/raw/{split}.json", split=engine.used(PARAMS, wildcards.split)
        ),
        index=lambda wildcards: expand(
            "data/index/{split}.parquet", split=engine.used(PARAMS, wildcards.split)
        ),
        thumbnails=lambda wildcards: expand(
            "data/thumbnails/{split}.npy", split=engine.used(PARAMS, wildcards.split)
        ),
        weights=expand(
            "data/weights/{model}.safetensors",
            model=dict.fromkeys(engine.checkpoints(PARAMS).values()),
        ),
        embeddings=expand(
            "results/embeddings/{model}/{{split}}.npy", model=PARAMS.fused()
        ),
        checkpoints=list(engine.checkpoints(PARAMS)),
    output:
        "results/submission/{split}.provenance.json",
    log:
        "logs/provenance/{split}.log",
    wildcard_constraints:
        split=engine.names(RANKED),
    localrule: True
    conda:
        engine.ENVIRONMENT
    message:
        "{wildcards.split}: provenance of the ranking"
    shell:
        "python scripts/provenance.py --split {wildcards.split:q} --ranking {input.ranking:q}"
        " --receipts {input.receipts:q} --inputs {input.index:q} {input.thumbnails:q} {input.weights:q}"
        " {input.embeddings:q} --checkpoints {input.checkpoints:q} --out {output:q} --log {log:q}"
