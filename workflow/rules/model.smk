# Pretrained weights, one checkpoint and its embeddings for every model of params.yaml.
#
# INPUTS   data/index/{split}.parquet, data/thumbnails/{split}.npy; params.yaml: train, models.{model}, embed
# OUTPUTS  data/weights/{model}.safetensors                 what its training starts from (no array, if from scratch)
#          results/models/{model}/model.safetensors         the selected checkpoint, with the parameters that built it
#          results/models/{model}/last.safetensors          the same, at the end of the training
#          results/training/{model}/summary.json            parameters, FLOPs, best epoch
#          results/training/{model}/curves/*.tsv     loss, learning rate and valid mAP (raw and averaged) of each epoch
#          results/embeddings/{model}/{split}.npy           float32 N x D, row i = index row i


rule weights:
    """Pretrained weights of one model, by name or from a file, as far as they fit."""
    input:
        code=engine.code("weights", "core", "params", "models", extended=True),
        made=lambda wildcards: PARAMS.made_here(wildcards.model) or [],
    output:
        "data/weights/{model}.safetensors",
    log:
        "logs/weights/{model}.log",
    priority: 1  # before gigabytes of zips: what cannot be had is told at once
    localrule: True
    conda:
        engine.ENVIRONMENT
    params:
        network=lambda wildcards: config["models"][wildcards.model]["network"],
        input=lambda wildcards: config["models"][wildcards.model]["input"],
        file=lambda wildcards: engine.content(outside.weights, PARAMS, wildcards.model),
    message:
        "{wildcards.model}: pretrained weights"
    shell:
        "python scripts/weights.py --model {wildcards.model:q} --out {output:q} --log {log:q}"


rule train:
    """Train one model on the training splits."""
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
        init=rules.weights.output,
        index=lambda wildcards: expand(
            "data/index/{split}.parquet", split=PARAMS.trained_on(wildcards.model)
        ),
        thumbnails=lambda wildcards: expand(
            "data/thumbnails/{split}.npy", split=PARAMS.trained_on(wildcards.model)
        ),
        validation=lambda wildcards: (
            ["data/index/valid.parquet", "data/thumbnails/valid.npy"]
            if PARAMS.validated(wildcards.model)
            else []
        ),
    output:
        checkpoint="results/models/{model}/model.safetensors",
        last="results/models/{model}/last.safetensors",
        summary="results/training/{model}/summary.json",
        loss="results/training/{model}/curves/loss.tsv",
        learning_rate="results/training/{model}/curves/learning_rate.tsv",
        valid="results/training/{model}/curves/valid_mAP.tsv",
        averaged="results/training/{model}/curves/valid_mAP_averaged.tsv",
    log:
        "logs/train/{model}.log",
        speed="results/speed/{model}/images_per_second.tsv",
    conda:
        engine.ENVIRONMENT
    threads: engine.share(workflow)
    resources:
        runtime=2880,
        mem_mb=16000,
        gpu=lambda wildcards: PARAMS.models[wildcards.model].devices,
    params:
        section=lambda wildcards: config["models"][wildcards.model],
        splits=config["train"],
    message:
        "{wildcards.model}: train"
    shell:
        "set -- {input.validation:q};"
        " python scripts/train.py --model {wildcards.model:q} --index {input.index:q} --thumbnails {input.thumbnails:q}"
        ' ${{1:+--validation "$@"}} --init {input.init:q}'
        " --out {output.checkpoint:q} --last {output.last:q} --summary {output.summary:q}"
        ' --curves "$(dirname {output.loss:q})" --speed "$(dirname {log.speed:q})" --log {log[0]:q}'


rule embed:
    """Embed one split with one model."""
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
        checkpoint=rules.train.output.checkpoint,
        thumbnails=rules.thumbnails.output,
    output:
        "results/embeddings/{model}/{split}.npy",
    log:
        "logs/embed/{model}/{split}.log",
    conda:
        engine.ENVIRONMENT
    threads: engine.share(workflow)
    resources:
        runtime=240,
        mem_mb=8000,
        gpu=1,
    params:
        section=config["embed"],
    message:
        "{wildcards.model}: embed {wildcards.split}"
    shell:
        "python scripts/embed.py --checkpoint {input.checkpoint:q} --thumbnails {input.thumbnails:q}"
        " --out {output:q} --log {log:q}"


rule external:
    """Embeddings of a model that was made elsewhere, checked and in the order of the index."""
    input:
        code=engine.code("external", "core", "raw", "data", "retrieval"),
        index=rules.index.output,
    output:
        "results/embeddings/{model}/{split}.npy",
    log:
        "logs/external/{model}/{split}.log",
    wildcard_constraints:
        split=engine.names(RANKED),
        model=engine.names(PARAMS.external_models),
    conda:
        engine.ENVIRONMENT
    resources:
        runtime=30,
        mem_mb=4000,
    params:
        section=lambda wildcards: config["external_models"][wildcards.model],
        files=lambda wildcards: engine.content(
            outside.external, PARAMS, wildcards.model, wildcards.split
        ),
        folder=lambda wildcards: str(PARAMS.external_models[wildcards.model].place()),
    message:
        "{wildcards.model}: embeddings of {wildcards.split}, made elsewhere"
    shell:
        "python scripts/external.py --index {input.index:q} --folder {params.folder:q} --out {output:q} --log {log:q}"
