# Pages and figures to look at.
#
# INPUTS   data/index/{split}.parquet, data/thumbnails/{split}.npy, results/distances/{split}.parquet, what evaluate
#          and train wrote; params.yaml: train, evaluate, distances
# OUTPUTS  results/browse/{split}.html, {split}/{part}.js    rankings of all queries (valid, test, challenge)
#          results/figures/{split}.svg, {split}-worst.png    scores, and the queries of lowest AP (valid, test)
#          results/figures/{model}-training.svg              loss, learning rate and valid mAP


from reid.page.parts import NAMES


rule browse:
    """A page of one split's rankings that opens from disk."""
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
        index=rules.index.output,
        thumbnails=rules.thumbnails.output,
        distances=rules.distances.output,
    output:
        page="results/browse/{split}.html",
        parts=expand("results/browse/{{split}}/{part}", part=NAMES),
    log:
        "logs/browse/{split}.log",
    wildcard_constraints:
        split=engine.names(RANKED),
    conda:
        engine.ENVIRONMENT
    threads: engine.THREADS
    resources:
        runtime=60,
        mem_mb=4000,
    params:
        splits=config["train"],
        evaluate=config["evaluate"],
        distances=config["distances"],
    message:
        "{wildcards.split}: page of the rankings"
    shell:
        "python scripts/browse.py --index {input.index:q} --thumbnails {input.thumbnails:q} --distances {input.distances:q}"
        " --out {output.page:q} --threads {threads} --log {log:q}"


rule figures:
    """The scores of one labelled split in one figure, and its worst queries."""
    input:
        code=engine.code(
            "figures",
            "core",
            "raw",
            "data",
            "params",
            "retrieval",
            "ranking",
            "evaluation",
            "reports",
        ),
        index=rules.index.output,
        thumbnails=rules.thumbnails.output,
        distances=rules.distances.output,
        metrics=rules.evaluate.output.metrics,
        queries=rules.evaluate.output.queries,
        slices=rules.evaluate.output.slices,
        cmc=rules.evaluate.output.cmc,
    output:
        scores=report(
            "results/figures/{split}.svg",
            caption="../report/scores.rst",
            category="3. Scores",
            labels={"split": "{split}", "what": "scores"},
        ),
        worst=report(
            "results/figures/{split}-worst.png",
            caption="../report/worst.rst",
            category="3. Scores",
            labels={"split": "{split}", "what": "worst queries"},
        ),
    log:
        "logs/figures/{split}.log",
    wildcard_constraints:
        split=engine.names(SCORED),
    conda:
        engine.ENVIRONMENT
    resources:
        runtime=30,
        mem_mb=4000,
    message:
        "{wildcards.split}: figures"
    shell:
        "python scripts/figures.py --index {input.index:q} --thumbnails {input.thumbnails:q}"
        " --distances {input.distances:q} --metrics {input.metrics:q} --queries {input.queries:q} --slices {input.slices:q}"
        " --cmc {input.cmc:q} --scores {output.scores:q} --worst {output.worst:q} --log {log:q}"


rule curves:
    """How one model was trained."""
    input:
        code=engine.code("curves", "core", "reports"),
        loss=rules.train.output.loss,
        learning_rate=rules.train.output.learning_rate,
        valid=rules.train.output.valid,
        averaged=rules.train.output.averaged,
        summary=rules.train.output.summary,
    output:
        report(
            "results/figures/{model}-training.svg",
            caption="../report/training.rst",
            category="2. Training",
            labels={"model": "{model}"},
        ),
    log:
        "logs/curves/{model}.log",
    localrule: True
    conda:
        engine.ENVIRONMENT
    message:
        "{wildcards.model}: curves of its training"
    shell:
        "python scripts/curves.py --loss {input.loss:q} --learning-rate {input.learning_rate:q} --valid {input.valid:q}"
        " --averaged {input.averaged:q} --summary {input.summary:q} --out {output:q} --log {log:q}"
