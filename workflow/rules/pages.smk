# Pages and pictures to look at.
#
# INPUTS   data/index/{split}.parquet, data/thumbnails/{split}.npy, results/distances/{split}.parquet;
#          params.yaml: train
# OUTPUTS  results/browse/{split}.html, {split}/{part}.js    rankings of all queries (valid, test, challenge)


rule browse:
    """A page of one split's rankings that opens from disk."""
    input:
        code=engine.code("browse"),
        templates=engine.templates("browse"),
        index=rules.index.output,
        thumbnails=rules.thumbnails.output,
        distances=rules.distances.output,
    output:
        page="results/browse/{split}.html",
        parts=expand("results/browse/{{split}}/{part}.js", part=engine.PARTS),
    log:
        "logs/browse/{split}.log",
    wildcard_constraints:
        split="valid|test|challenge",
    conda:
        "../../envs/environment.yaml"
    threads: CORES
    params:
        splits=config["train"],
    message:
        "{wildcards.split}: page of the rankings"
    shell:
        "python scripts/browse.py --index {input.index} --thumbnails {input.thumbnails} --distances {input.distances}"
        " --out {output.page} --threads {threads} --log {log}"
